"""What a sender is to send, in order, and how much more may be queued."""

from __future__ import annotations

from collections import deque
from typing import Union

from .._limits import SpoolLimits
from .._loop import Event, Loop
from ._job import SpoolJob

# Bytes; a producer in a job; or a mark, which is set when everything before it has been sent.
Entry = Union[bytes, SpoolJob, Event]


class Waiters:
    """Tasks that wait for the same thing, which happens again and again."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._events: list[Event] = []

    def __bool__(self) -> bool:
        return bool(self._events)

    async def wait(self) -> None:
        """Wait until `wake_all` is called."""
        event = self._loop.event()
        self._events.append(event)
        try:
            await event.wait()
        finally:
            if event in self._events:
                self._events.remove(event)

    def wake_all(self) -> None:
        """Wake all tasks that wait now."""
        events, self._events = self._events, []
        for event in events:
            event.set()


class SendQueue:
    """The entries that a sender is to send, in order.

    Attributes:
        size: The number of bytes that are queued, or taken from the queue and not yet sent.
        high_water: The maximum of `size` so far.
        fragments: The number of entries of bytes so far.
        wakeups: How often an entry has woken the sender's task.
        prompt: Whether the sender's task has been woken, and has not yet waited for anything but its turn to run.
        closed: Whether nothing more may be added.
    """

    def __init__(self, loop: Loop, limits: SpoolLimits) -> None:
        self._limits = limits
        self._entries: deque[Entry] = deque()
        self._sender = loop.sleeper()  # the sender's task, while there is nothing to send
        self._room = Waiters(loop)
        self._offered = Waiters(loop)
        self.size = self.high_water = self.fragments = self.wakeups = 0
        self.prompt = False
        self.closed = False

    # For the tasks that send

    @property
    def full(self) -> bool:
        """Whether a full window of bytes is queued."""
        return self.size >= self._limits.window

    async def wait_room(self) -> None:
        """Wait until no more than the low-water mark is left, or until nothing more will be sent."""
        await self._room.wait()

    async def wait_offered(self) -> None:
        """Wait until the sender's task has nothing left that it could do at once."""
        await self._offered.wait()

    def put_bytes(self, data: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(data)
        if self.size > self.high_water:
            self.high_water = self.size
        self.fragments += 1
        self.put(data)

    def put(self, entry: Entry) -> None:
        """Add an entry at the end, and wake the sender's task if it sleeps."""
        self._entries.append(entry)
        if self._sender.asleep:
            self.wakeups += 1
            self.prompt = True
            self._sender.wake()

    def withdraw(self, job: SpoolJob) -> None:
        """Remove a job whose turn has not come."""
        if job in self._entries:
            self._entries.remove(job)

    def close(self) -> None:
        """Let nothing be added. `next` returns what is there, and then None."""
        self.closed = True
        self._sender.wake()

    def clear(self) -> list[Entry]:
        """Remove all entries and return them, and close the queue. Nobody waits for room any more."""
        entries = list(self._entries)
        self._entries.clear()
        self.size = 0
        self.close()
        self._room.wake_all()
        self.not_prompt()
        return entries

    # For the sender's task

    def __bool__(self) -> bool:
        return bool(self._entries)

    async def next(self) -> Entry | None:
        """Take the next entry, and wait for it if there is none. Return None when the queue is closed and empty."""
        while not self._entries:
            if self.closed:
                return None
            self.not_prompt()
            await self._sender.sleep()
        return self._entries.popleft()

    def join(self, data: bytes) -> bytes:
        """Add to an entry of bytes those behind it that fit into one batch with it."""
        entries = self._entries
        if not (entries and isinstance(entries[0], bytes)):
            return data
        parts, size = [data], len(data)
        while entries and isinstance(entries[0], bytes) and size + len(entries[0]) <= self._limits.batch:
            part = entries.popleft()
            assert isinstance(part, bytes)
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def sent(self, size: int) -> None:
        """Make room: so many bytes have been sent."""
        self.size -= size
        if self._room and self.size <= self._limits.low_water:
            self._room.wake_all()

    def not_prompt(self) -> None:
        """Note that the sender's task is about to wait."""
        self.prompt = False
        if self._offered:
            self._offered.wake_all()
