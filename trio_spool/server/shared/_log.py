"""The log of a service: structlog's, without the lines below the level of the settings.

A program that embeds a service configures structlog itself, or does not: then structlog prints every line to standard output. So
the service leaves out what its settings do not ask for, and makes no line that would be left out.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from ..settings import LOG_LEVELS

_RANKS: Final = {level: rank for rank, level in enumerate(LOG_LEVELS)}


class Log:
    """Writes lines of a level or above.

    Args:
        level: The level, one of `LOG_LEVELS`.

    Attributes:
        debugging: Whether lines of the level debug are written: look at it before one is made.
    """

    def __init__(self, level: str) -> None:
        self._log: Any = structlog.get_logger("trio_spool")
        self.change(level)

    def change(self, level: str) -> None:
        """Write lines from another level on."""
        self._rank = _RANKS[level]
        self.debugging = level == "debug"

    def writes(self, level: str) -> bool:
        """Return whether lines of a level are written."""
        return _RANKS[level] >= self._rank

    def write(self, level: str, event: str, **details: object) -> None:
        """Write a line."""
        if self.writes(level):
            getattr(self._log, level)(event, **details)

    def debug(self, event: str, **details: object) -> None:
        """Write a line for those who look for a fault."""
        self.write("debug", event, **details)

    def info(self, event: str, **details: object) -> None:
        """Write a line about what is as it should be."""
        self.write("info", event, **details)

    def warning(self, event: str, **details: object) -> None:
        """Write a line about what somebody may have to look at."""
        self.write("warning", event, **details)

    def error(self, event: str, **details: object) -> None:
        """Write a line about what does not work."""
        self.write("error", event, **details)
