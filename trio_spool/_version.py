"""The version: the one place that says it. The build reads it from here."""

__version__ = "1.0.0"
