"""The Beam transforms of the monitors; they hold no statistics."""
