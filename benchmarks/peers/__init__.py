"""Other drift tools beside `tidegauge check`, each in a virtual environment of its own."""
