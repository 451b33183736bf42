"""A most rate for what is sent in bulk, so that a backup or a scan leaves something of the network to everybody else."""

from __future__ import annotations

from collections.abc import Callable

import trio


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
        self._free_at = 0.0
        self.waited = 0.0

    @property
    def on(self) -> bool:
        """Whether there is a limit now."""
        return self._rate() > 0

    async def wait(self, size: int) -> None:
        """Wait until a piece of so many bytes may be sent, behind all that were announced before.

        If cancelled, the piece counts as sent.
        """
        rate = self._rate()
        if rate and size:
            now = self._clock()
            begin = max(self._free_at, now)
            self._free_at = begin + size / rate
            self.waited += begin - now
            await trio.sleep_until(begin)
