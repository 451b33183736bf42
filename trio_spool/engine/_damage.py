"""What was found damaged: counted, and logged when it is met for the first time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from ._errors import DamagedError

_log = logging.getLogger("trio_spool.engine")

# Seconds between two lines of the log about damage. A client may ask for damaged records a thousand times a second. Picked, not
# measured.
QUIET: Final = 10.0
# The number of damaged places that are remembered, so that each is logged once. Picked, not measured.
MAX_KNOWN: Final = 1000


class DamageLog:
    """The damage that a store has met since it was opened. All threads may use it.

    Args:
        where: Names the store.
        clock: The monotonic clock.

    Attributes:
        count: How often something damaged was met.
    """

    def __init__(self, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._silent_until = 0.0
        self._unsaid = 0
        self.count = 0

    def met(self, error: DamagedError) -> DamagedError:
        """Count damage, log it if it is new, and return its error."""
        text = str(error)
        with self._lock:
            self.count += 1
            if text in self._known or len(self._known) >= MAX_KNOWN:
                return error
            self._known.add(text)
            now = self._clock()
            if now < self._silent_until:
                self._unsaid += 1
                return error
            self._silent_until = now + QUIET
            unsaid, self._unsaid = self._unsaid, 0
        more = f"; {unsaid} more places were found damaged since the last such line" if unsaid else ""
        _log.error("%s: %s%s; requests for it are refused: run trio-spool check, or restore a backup", self._where, text, more)
        return error
