"""What a stream needs of the loop it is read in, beside what its hand-over needs."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from .._core import Event, Loop

logger = logging.getLogger("trio_spool")


class Host(ABC):
    """One for each loop. `find_host` returns that of the loop that runs.

    Attributes:
        loop: The loop, as hand-overs see it.
        running: For each stream that has started and not ended, the event that is set at its end.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.running: set[Event] = set()

    @abstractmethod
    def start(self, driving: Callable[[], Coroutine[Any, Any, None]], tell: Callable[[], object]) -> None:
        """Run a coroutine function, which raises nothing, in a task that belongs to no other task, with the current context.

        Args:
            driving: The coroutine function. It waits for threads, so it is not cancelled.
            tell: Called when the task would be cancelled, because the loop ends: it makes `driving` end.
        """

    @abstractmethod
    def current_task(self) -> object:
        """Return the task that runs."""

    @abstractmethod
    def watch(self, task: Any, ended: Callable[[bool], None]) -> None:
        """Call a function when a task ends, with whether the task was cancelled."""

    @abstractmethod
    def unwatch(self, task: Any, ended: Callable[[bool], None]) -> None:
        """Do not call the function."""

    @abstractmethod
    async def outlast(self, event: Event) -> None:
        """Wait for an event, however often this is cancelled, and raise the cancellation only afterwards."""

    def report(self, message: str, error: BaseException) -> None:
        """Tell about an error that no task can be told of."""
        logger.error(message, exc_info=error)
