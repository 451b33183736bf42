"""Clients that wait until a bucket has reached a sequence number.

They hold no place of a scan meanwhile. One task looks for all of them, at the lowest number that somebody waits for in each bucket,
so a look does not cost more if more of them wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs
import trio

from ..data import Bucket

# Seconds between two looks at whether a sequence number has been reached. A look compares two numbers. Picked, not measured.
POLL = 0.005


@attrs.define(eq=False)
class SequenceWait:
    """One client that waits.

    Attributes:
        owner: The number of its connection.
        name: What it calls the scan that it waits for.
        bucket: The bucket.
        seqno: The sequence number.
        clock: The monotonic clock.
        began: Since when it has waited, by the clock.
        reached: Set once the bucket has reached the number.
    """

    owner: int
    name: str
    bucket: Bucket
    seqno: int
    clock: Callable[[], float]
    began: float = attrs.field(init=False)
    reached: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.began = self.clock()

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics, in values that JSON can hold."""
        return {
            "name": self.name,
            "connection": self.owner,
            "state": "waiting",
            "seconds": round(self.clock() - self.began, 3),
            "seqno": self.seqno,
            "reached": self.bucket.engine.seqno,
        }


class SequenceWaits:
    """All clients that wait. The event loop's thread uses it.

    Args:
        clock: The monotonic clock, for the statistics.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: set[SequenceWait] = set()
        # The lowest number that is waited for in each bucket, or a lower one: whoever waited for that may have gone.
        self._lowest: dict[Bucket, int] = {}
        self._begun = trio.Event()  # somebody has begun to wait; replaced when nobody waits any more

    def __iter__(self) -> Iterator[SequenceWait]:
        return iter(sorted(self._waiting, key=lambda wait: wait.began))

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, bucket: Bucket, seqno: int, *, owner: int, name: str = "", timeout: float) -> bool:
        """Wait until a bucket has reached a sequence number, for at most `timeout` seconds. Return whether it has."""
        if bucket.engine.seqno >= seqno:
            return True
        wait = SequenceWait(owner, name, bucket, seqno, self._clock)
        self._waiting.add(wait)
        self._lowest[bucket] = min(seqno, self._lowest.get(bucket, seqno))
        self._begun.set()
        try:
            with trio.move_on_after(timeout):
                await wait.reached.wait()
        finally:
            self._waiting.remove(wait)
        return bucket.engine.seqno >= seqno

    async def look(self) -> None:
        """Wake those whose number has been reached, for ever."""
        while True:
            await self._begun.wait()
            while self._waiting:
                for bucket, lowest in list(self._lowest.items()):
                    if bucket.engine.seqno >= lowest:
                        self._wake(bucket)
                await trio.sleep(POLL)
            self._lowest.clear()
            self._begun = trio.Event()

    def _wake(self, bucket: Bucket) -> None:
        """Wake those who wait for a number of a bucket that has been reached, and note what the others wait for."""
        reached = bucket.engine.seqno
        left = []
        for wait in self._waiting:
            if wait.bucket is bucket and wait.seqno <= reached:
                wait.reached.set()
            elif wait.bucket is bucket:
                left.append(wait.seqno)
        if left:
            self._lowest[bucket] = min(left)
        else:
            del self._lowest[bucket]
