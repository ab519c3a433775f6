"""The `tidegauge` command: one module per stage of the work, and what they share."""

from pipelines.cli import prepare, watch, results  # isort: skip (the order of the help)
from pipelines.cli.app import app, default_folder, main

__all__ = ["app", "default_folder", "main", "prepare", "results", "watch"]
