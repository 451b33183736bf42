"""Streams that are read on Trio: their drivers are system tasks, and an instrument sees the ends of their readers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import trio

from .._core import Event, PerRun, outlast, start_until_run_ends, trio_loop
from ._host import Host


class TrioHost(Host, trio.abc.Instrument):
    """Its instrument is installed while there are readers to watch."""

    def __init__(self) -> None:
        super().__init__(trio_loop())
        self._watched: dict[trio.lowlevel.Task, set[Callable[[bool], None]]] = {}
        self._cancelled: set[trio.lowlevel.Task] = set()  # watched tasks that began a step cancelled

    def start(self, driving: Callable[[], Coroutine[Any, Any, None]], tell: Callable[[], object]) -> None:
        start_until_run_ends(driving, tell)

    def current_task(self) -> trio.lowlevel.Task:
        return trio.lowlevel.current_task()

    def watch(self, task: trio.lowlevel.Task, ended: Callable[[bool], None]) -> None:
        if not self._watched:
            trio.lowlevel.add_instrument(self)
        self._watched.setdefault(task, set()).add(ended)

    def unwatch(self, task: trio.lowlevel.Task, ended: Callable[[bool], None]) -> None:
        watched = self._watched.get(task, set())
        watched.discard(ended)
        if not watched and self._watched.pop(task, None) is not None:
            self._cancelled.discard(task)
            if not self._watched:
                trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note whether a watched task is cancelled: it can't be told from its end. Called by Trio."""
        if task in self._watched:
            if trio.current_effective_deadline() == -inf:
                self._cancelled.add(task)
            else:
                self._cancelled.discard(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Tell the streams that a task was reading. Called by Trio."""
        cancelled = task in self._cancelled
        for ended in list(self._watched.get(task, ())):
            ended(cancelled)

    async def outlast(self, event: Event) -> None:
        await outlast(event)


trio_host = PerRun("trio_spool_streams", TrioHost)
