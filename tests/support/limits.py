"""A time limit for each test, as a plugin of pytest: a test that hangs fails, with its stacks, and the next one runs.

Two timers run for each test:

1. pytest-timeout's, by its method "signal": the limit of the configuration, or of the mark ``timeout``. Its handler raises in the main
   thread. In the middle of Trio's event loop this would leave Trio unable to run again in this process, so here the loop is asked to raise,
   which cancels all tasks. Only if the loop does not answer does the main thread raise, as then some task blocks it.
2. faulthandler's, `timeout_grace` seconds later. It needs neither the main thread nor the interpreter's lock, and ends the process. This
   helps if cancelled tasks do not end (they wait for a thread), and if the main thread is in C code that no signal interrupts, as in LMDB's
   locks. pytest-xdist then fails the test and starts another process.

pytest-timeout writes stacks to the terminal, which a process of pytest-xdist does not have. Therefore this writes them to what pytest
captures for the test, and with them the tasks of Trio, which no thread's stack shows.

Both timers end when a test has failed. Here they are started again for the fixtures that are torn down after that (pytest-timeout's
issue 196), and the second one for the end of the process, which waits for threads.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, TextIO

import pytest
import trio

_settings = pytest.StashKey[Any]()
_stderr = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    description = "Seconds that a test which exceeded its limit has to end before its process is ended"
    parser.addini("timeout_grace", description, default="30")  # picked, not measured


def _grace(config: pytest.Config) -> float:
    return float(config.getini("timeout_grace"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr] = os.dup(sys.__stderr__.fileno())  # nothing is captured yet


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a process of pytest-xdist waits here for the others, and is ended by the first one
        faulthandler.dump_traceback_later(_grace(config), exit=True, file=config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    item.stash[_settings] = settings
    faulthandler.dump_traceback_later(settings.timeout + _grace(item.config), exit=True, file=item.config.stash[_stderr])
    result = yield
    fail = signal.getsignal(signal.SIGALRM)
    if callable(fail):
        signal.signal(signal.SIGALRM, _Alarm(fail, _grace(item.config) / 5))
    return result


class _Alarm:
    """The handler of the first timer, around the one of pytest-timeout, which raises.

    Args:
        fail: The handler of pytest-timeout.
        patience: How many seconds an event loop has to answer.
    """

    def __init__(self, fail: Callable[[int, FrameType | None], object], patience: float) -> None:
        self._fail = fail
        self._patience = patience
        self._rang = False
        self._answered = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._answered:
            return  # the event loop has raised; the second timer ends what does not end
        if self._rang:
            self._fail(number, frame)
        self._rang = True
        write_stacks(sys.stderr, frame)
        try:
            token = trio.lowlevel.current_trio_token()
        except RuntimeError:  # no event loop runs in this thread
            self._fail(number, frame)
        else:
            token.run_sync_soon(self._fail_in_loop, number)
            signal.setitimer(signal.ITIMER_REAL, self._patience)

    def _fail_in_loop(self, number: int) -> None:
        self._answered = True
        self._fail(number, None)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    if _settings in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_settings])
    return (yield)


def write_stacks(file: TextIO, current: FrameType | None) -> None:
    """Write the stacks of all threads, and of all tasks of the event loop that runs in this thread."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for identifier, frame in sys._current_frames().items():
        stack = current if identifier == threading.get_ident() else frame
        print(f"--- thread {names.get(identifier, identifier)}", *traceback.format_stack(stack), sep="\n", file=file)
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        return  # no event loop
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        frames = traceback.StackSummary.extract(task.iter_await_frames()).format()
        print(f"--- task {task.name}", *frames, sep="\n", file=file)
        waiting.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
