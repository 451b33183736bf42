"""Manners in Trio: an instrument notes when tasks run that do not stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import trio

from .._manners import Manners


class TrioManners(Manners, trio.abc.Instrument):
    """Notes, while anything is spooled, when tasks run that do not stream. One for each Trio run.

    A task that was woken in a step of a streaming task counts as streaming for one step: it was given a batch, or bytes to send.

    Args:
        clock: Returns the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(clock)
        self._streaming: dict[trio.lowlevel.Task, int] = {}
        self._following: set[trio.lowlevel.Task] = set()  # tasks whose next step follows from what a stream did
        self._ours = False  # whether the step that runs belongs to a stream, or follows from one
        self._messenger: trio.lowlevel.Task | None = None
        self._begun = 0.0  # when the step that runs began, if it does not belong to a stream

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note a task that a stream wakes. Called by Trio."""
        if self._ours:
            self._following.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note whether the step that begins belongs to a stream. Called by Trio."""
        self._ours = task in self._following or task in self._streaming
        self._following.discard(task)
        if not self._ours:
            self._begun = self.clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the time, unless the task streams; it may have begun to do so in this step. Called by Trio."""
        if not self._ours and task not in self._streaming and task is not self._messenger:
            self.last = self.clock()
            self.others += self.last - self._begun
        self._ours = False

    def called_by_worker(self, function: Callable[[], object]) -> None:
        """Call a function. Trio does so in a task of its own, which does not count as another task."""
        self._messenger = trio.lowlevel.current_task()
        self._ours = True
        function()
        self._ours = False

    def when_others_have_run(self, release: Callable[[], None]) -> None:
        """Let the worker go on at once: by the time that Trio runs what a thread asked for, it has run every task of a pass."""
        self.called_by_worker(release)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count the current task as streaming for as long as the block lasts."""
        task = trio.lowlevel.current_task()
        self._enter(task)
        try:
            yield
        finally:
            self._leave(task)

    def _enter(self, task: trio.lowlevel.Task) -> None:
        if not self._streaming:
            trio.lowlevel.add_instrument(self)
            self._begun = self.clock()  # of the step that runs, which was not seen to begin
        self._ours = True
        self._streaming[task] = self._streaming.get(task, 0) + 1

    def _leave(self, task: trio.lowlevel.Task) -> None:
        count = self._streaming.pop(task) - 1
        if count:
            self._streaming[task] = count
        elif not self._streaming:
            trio.lowlevel.remove_instrument(self)
            self._following.clear()
