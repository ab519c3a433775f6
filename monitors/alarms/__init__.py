"""From evidence in windows to alarms that a person can live with; see docs/methods/alarms.md."""
