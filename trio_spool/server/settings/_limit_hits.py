"""How often each limit was reached: an operator who wants to know whether one is too low looks here."""

from __future__ import annotations

from typing import Final

#: The limits that are counted, by the names of their options. What is counted is that somebody was refused, disconnected, or
#: cut off; that somebody had to wait is not.
LIMITS: Final = (
    "max-connections", "max-connections-per-address", "login-timeout", "frame-timeout", "idle-timeout", "send-timeout",
    "min-read-rate", "max-buffered", "max-item-size", "max-buckets", "max-scans", "max-scans-per-connection", "max-scan-life",
    "max-held-size", "max-snapshots", "max-snapshots-per-connection", "snapshot-idle", "bucket-share", "user-share",
    "drain-timeout",
)  # fmt: skip


class LimitHits:
    """Counts how often each limit was reached. The event loop's thread uses it.

    Attributes:
        counts: How often, by the names of `LIMITS`.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(LIMITS, 0)

    def hit(self, option: str, times: int = 1) -> None:
        """Count that a limit was reached.

        Args:
            option: The option that sets it, with or without the dashes in front.
            times: How often.
        """
        self.counts[option.removeprefix("--")] += times

    def reset(self) -> None:
        """Set every count to 0."""
        self.counts = dict.fromkeys(self.counts, 0)
