"""Beam graphs out of the parts, their sources and sinks, and the `tidegauge` command."""
