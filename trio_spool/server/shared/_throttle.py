"""A most rate for what is sent in bulk, so that a backup or a scan leaves something of the network to everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

# Seconds after which a piece that waits looks whether the rate has changed. Picked, not measured.
LONGEST_SLEEP: Final = 1.0


class Throttle:
    """Lets no more than so many bytes per second pass, all together. The event loop's thread uses it.

    Nothing is saved up: after a pause, the first piece passes at once, and the next one in its time.

    Args:
        rate: Returns the bytes per second that may pass now; 0 for no limit.
        clock: Trio's clock.

    Attributes:
        waited: How long all senders have waited together, in seconds.
    """

    def __init__(self, rate: Callable[[], int], clock: Callable[[], float] = trio.current_time) -> None:
        self._rate = rate
        self._clock = clock
        # Bytes that were announced so far, and those of them whose time has come, at a time by the clock.
        self._announced = 0
        self._passed = 0.0
        self._at = 0.0
        self.waited = 0.0

    @property
    def on(self) -> bool:
        """Whether there is a limit now."""
        return self._rate() > 0

    async def wait(self, size: int) -> None:
        """Wait until a piece of so many bytes may be sent, behind all that were announced before.

        If cancelled, the piece counts as sent.
        """
        if not self._rate():
            return
        self._advance()
        began, before = self._clock(), self._announced
        self._announced += size
        try:
            while (left := before - self._passed) > 0 and (rate := self._rate()):
                await trio.sleep(min(left / rate, LONGEST_SLEEP))
                self._advance()
        finally:
            self.waited += self._clock() - began

    def _advance(self) -> None:
        now = self._clock()
        self._passed = min(self._announced, self._passed + self._rate() * (now - self._at))
        self._at = now
