"""What the library needs of an event loop.

`Loop` is the whole of it: the room `trio` implements it for Trio, and the package `asyncio` beside `_core` for asyncio. All that is
shared, the hand-over, its driver and the sender, is written as coroutines over this interface, so it does not know which loop
runs it.

Methods whose names end in ``_in_thread`` may be called in any thread, all others in the loop's thread only.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from time import perf_counter, thread_time
from typing import Any, Protocol, TypeVar

from ._errors import SpoolError
from ._manners import Manners
from ._watch import Watch

T = TypeVar("T")

# How many threads each kind of work may use at the same time in one event loop: all three numbers were picked, not measured.
PLACES = {
    # Turns of iterables. They compete for one interpreter lock and for the disks, so more threads would not be faster; a paused
    # iterable holds none.
    "iterables": 16,
    # Functions that write. Each holds its thread while it waits for its receiver, so there are more of these.
    "functions": 64,
    # Closing of paused iterators. These threads are separate, because producers that wait may hold all the others.
    "closing": 16,
    # Stop functions, which may be what lets all the others end.
    "stopping": 16,
}


class Event(Protocol):
    """Something that happens once, for any number of tasks: `trio.Event` and `asyncio.Event` are such."""

    def set(self) -> None:
        """Wake all tasks that wait, now and later."""

    def is_set(self) -> bool:
        """Return whether it has been set."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""


class Sleeper(ABC):
    """One task that sleeps until it is woken. It costs less than an event, and may be used again and again."""

    @property
    @abstractmethod
    def asleep(self) -> bool:
        """Whether a task sleeps."""

    @abstractmethod
    async def sleep(self) -> None:
        """Wait for `wake`. Only one task may sleep at a time. If it is cancelled, it is no longer asleep."""

    @abstractmethod
    def wake(self) -> None:
        """Wake the task that sleeps, if there is one."""


class Threads(ABC):
    """Runs the functions of one producer in worker threads, one at a time, when its limiter has a place for it.

    Attributes:
        waiting: Whether a function waits for a place.
    """

    waiting: bool

    @property
    def crowded(self) -> bool:
        """Whether a function might have to wait for a place now."""
        return True

    @abstractmethod
    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a worker thread, and return what it returns.

        Once the function has begun, this waits for its end even if the task is cancelled: a thread cannot be interrupted.

        Raises:
            NoThreadError: `give_up` was called before there was a place.
        """

    @abstractmethod
    def give_up(self) -> None:
        """Wait for a place no longer, now or later."""


class NoThreadError(SpoolError):
    """A function got no thread, because nobody needs its result any more. Never reaches a user."""


class Loop(ABC):
    """An event loop, as a hand-over, its driver and a sender see it.

    Attributes:
        manners: Shared by everything that streams in this loop.
        cancelled: The exception with which the loop cancels a task.
    """

    manners: Manners
    cancelled: type[BaseException]
    watch = Watch()  # shared by all loops; a test can have its own
    # The clocks and the lock are here so that a simulation can have its own.
    clock: Callable[[], float] = staticmethod(perf_counter)
    thread_clock: Callable[[], float] = staticmethod(thread_time)
    new_lock: Callable[[], Any] = staticmethod(threading.Lock)

    @abstractmethod
    def call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have the loop call a function soon. Return False if the loop has ended, and will not."""

    @abstractmethod
    def sleeper(self) -> Sleeper:
        """Return a new sleeper."""

    @abstractmethod
    def event(self) -> Event:
        """Return a new event."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let other tasks run, and find out whether this one is cancelled."""

    async def checkpoint_if_cancelled(self) -> None:  # noqa: B027 - for loops that cancel tasks which do not wait
        """Find out whether this task is cancelled, without letting others run if it is not."""

    async def cancel_shielded_checkpoint(self) -> None:  # noqa: B027 - likewise
        """Let other tasks run. This is not cancelled."""

    @abstractmethod
    def check_limiter(self, limiter: object) -> None:
        """Check that an object is a limiter of this loop, or None.

        Raises:
            TypeError: It is not.
        """

    @abstractmethod
    def threads(self, kind: str, limiter: Any) -> Threads:
        """Return what runs the functions of one producer.

        Args:
            kind: Of limiter, if none is given: ``"iterables"``, ``"functions"``, ``"closing"`` or ``"stopping"``.
            limiter: A limiter of this loop, or None for the default one of the kind.
        """

    @abstractmethod
    def beside(self, function: Callable[..., Awaitable[None]], *arguments: object) -> AbstractAsyncContextManager[None]:
        """Run a coroutine function, which handles its own errors, in a task beside a block.

        Leaving the block waits until the function has returned. Cancelling the block does not cancel the function, so the block
        must tell it to end.
        """

    def cancel_again(self) -> None:  # noqa: B027 - for loops that tell a task only once
        """Keep a cancellation that is not raised, because an error is."""

    @abstractmethod
    def streaming(self) -> AbstractContextManager[None]:
        """Count the current task as streaming for as long as the block lasts."""
