"""Counters, as they are handed out."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class SpoolStatistics:
    """What one spool, or all spools of one sender together, did so far.

    Attributes:
        fragments: Fragments that the producer emitted; those of the run that is going on are counted at its end.
        bytes: Bytes handed to the receiver.
        batches: Batches they were handed over in.
        wakeups: Times that a worker thread had to wake the event loop's thread.
        turns: Times that a worker thread was taken up by the producer.
        blocked_seconds: Seconds that the producer was paused, waiting for the receiver.
        high_water: The most bytes that were emitted and not yet taken at one time.
        workers: Worker threads that producers hold now.
    """

    fragments: int = 0
    bytes: int = 0
    batches: int = 0
    wakeups: int = 0
    turns: int = 0
    blocked_seconds: float = 0.0
    high_water: int = 0
    workers: int = 0

    def __add__(self, other: SpoolStatistics) -> SpoolStatistics:
        """Add the counters; the high-water mark is the higher of the two."""
        if not isinstance(other, SpoolStatistics):
            return NotImplemented
        return SpoolStatistics(
            fragments=self.fragments + other.fragments,
            bytes=self.bytes + other.bytes,
            batches=self.batches + other.batches,
            wakeups=self.wakeups + other.wakeups,
            turns=self.turns + other.turns,
            blocked_seconds=self.blocked_seconds + other.blocked_seconds,
            high_water=max(self.high_water, other.high_water),
            workers=self.workers + other.workers,
        )


@attrs.frozen(kw_only=True)
class SenderStatistics:
    """What one sender did so far.

    Attributes:
        fragments: What was queued with `send`, and fragments that spools emitted.
        bytes: Bytes that the stream accepted.
        batches: Writes they were sent in.
        wakeups: Times that the sender's task was woken by `send` or had to be woken by a producer's thread.
        turns: Times that a worker thread was taken up by producers.
        blocked_seconds: Seconds that the sender waited for the peer to accept more.
        high_water: The most bytes that were queued, or that one spool held, at one time, whichever was more.
        queued: Bytes that are queued now.
        spools: The counters of all its spools together.
    """

    fragments: int
    bytes: int
    batches: int
    wakeups: int
    turns: int
    blocked_seconds: float
    high_water: int
    queued: int
    spools: SpoolStatistics
