"""The counters of spools and senders, as their users see them."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class SpoolStatistics:
    """The counters of one spool, or of all spools of one sender together.

    Attributes:
        fragments: The number of fragments emitted. Those of a run are counted at its end.
        bytes: The number of bytes handed to the receiver.
        batches: The number of batches in which these bytes were handed over.
        wakeups: How often a worker thread had to wake the event loop's thread.
        turns: The number of turns that the producer was given.
        blocked_seconds: How long the producer was paused, waiting for the receiver, in seconds.
        high_water: The maximum number of bytes that were emitted and not yet taken.
        waited_seconds: How long the producer waited for a worker thread, in all its turns so far, in seconds.
        held_seconds: How long it held one, also while it was blocked, likewise.
        workers: The number of worker threads that producers hold now.
        waiting: The number of producers that wait for a worker thread now.
        overdue: The number of producers that were stopped more than 5 seconds ago and have not ended.
    """

    fragments: int = 0
    bytes: int = 0
    batches: int = 0
    wakeups: int = 0
    turns: int = 0
    blocked_seconds: float = 0.0
    high_water: int = 0
    waited_seconds: float = 0.0
    held_seconds: float = 0.0
    workers: int = 0
    waiting: int = 0
    overdue: int = 0

    def __add__(self, other: SpoolStatistics) -> SpoolStatistics:
        """Add the counters. The high-water mark of the sum is the higher of the two."""
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
            waited_seconds=self.waited_seconds + other.waited_seconds,
            held_seconds=self.held_seconds + other.held_seconds,
            workers=self.workers + other.workers,
            waiting=self.waiting + other.waiting,
            overdue=self.overdue + other.overdue,
        )


@attrs.frozen(kw_only=True)
class SenderStatistics:
    """The counters of one sender.

    Attributes:
        fragments: The number of calls of `send` and of fragments that spools emitted.
        bytes: The number of bytes that the stream accepted.
        batches: The number of writes in which these bytes were sent.
        wakeups: How often the sender's task was woken, by `send` or by a producer's thread.
        turns: The number of turns that producers were given.
        blocked_seconds: How long the sender waited for the peer to accept more, in seconds.
        high_water: The maximum number of bytes that were queued at one time, or that one spool held, whichever is larger.
        queued: The number of bytes that are queued now.
        spools: The counters of all spools of this sender together.
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
