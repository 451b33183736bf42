"""``top`` on a terminal: the screen is drawn again and again, and keys are obeyed."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from rich.cells import set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .._core import raise_the_one
from .._formats import visible
from ._errors import CliError
from ._top_report import BYTES, COMMANDS, report
from ._top_screen import lines, show_seconds
from ._top_watcher import Watcher

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Seconds between two looks at whether the server owes an answer. Picked.
_TICK: Final = 1.0
# Seconds for which an answer is not yet late.
_LATE: Final = 2.0
_HELP: Final = "q quits, b and c sort connections by bytes or commands"
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


async def show(watcher: Watcher, order: str) -> None:
    """Show a server until the user wants no more."""
    console = Console(highlight=False, markup=False)
    with _without_echo(), Live(console=console, screen=True, auto_refresh=False) as live:
        screen = Screen(watcher, order, console, live)
        try:
            ended = await screen.run()
        except BaseExceptionGroup as group:
            raise_the_one(group)
    if ended is not None:
        sys.exit(128 + ended)


class Screen:
    """What is shown, and the tasks that change it.

    Args:
        watcher: Reads the statistics.
        order: By what connections are busy, at first.
        console: The terminal.
        live: Draws on it.
    """

    def __init__(self, watcher: Watcher, order: str, console: Console, live: Live) -> None:
        self._watcher = watcher
        self._order = order
        self._console = console
        self._live = live
        self._report: dict[str, Any] | None = None
        self._failure: CliError | None = None
        self._failed_at = 0.0
        self._ended: int | None = None

    async def run(self) -> int | None:
        """Show it until a key or a signal ends that. Returns the signal."""
        self.draw()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_keys, nursery.cancel_scope)
            nursery.start_soon(self._obey_signals, nursery.cancel_scope)
            nursery.start_soon(self._tick)
            await self._watcher.run(self._tell)
        return self._ended

    @trio.lowlevel.enable_ki_protection  # an interrupt in the middle of rich's work would let it keep what leaves the screen
    def draw(self) -> None:
        """Draw everything."""
        width, height = self._console.size
        shown = [self._status(width)]
        if self._report is not None:
            shown += lines(self._report, width, height - 1, self._order)
        self._live.update(Text("\n".join(shown[:height]), no_wrap=True, overflow="crop", end=""), refresh=True)

    def _status(self, width: int) -> str:
        text = _HELP if self._report is not None else f"connecting to {self._watcher.server.address}"
        now, since = trio.current_time(), self._watcher.asking_since
        if self._failure is not None:
            text = f"NO ANSWER for {show_seconds(int(now - self._failed_at))}: {self._failure.format_message()}"
        elif since is not None and now - since > _LATE:
            text = f"NO ANSWER for {show_seconds(int(now - since))}"
        return set_cell_size(visible(text), width).rstrip()

    async def _tell(self, failure: CliError | None) -> None:
        if failure is None:
            self._report = report(str(self._watcher.server.address), self._watcher.reader.history, self._order)
        elif self._failure is None:
            self._failed_at = self._watcher.asking_since or trio.current_time()
        self._failure = failure
        self.draw()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(_TICK)
            if self._failure is not None or self._watcher.asking_since is not None:
                self.draw()

    async def _obey_keys(self, scope: trio.CancelScope) -> None:
        if sys.stdin is None or not sys.stdin.isatty():
            return
        while True:
            await trio.lowlevel.wait_readable(sys.stdin.fileno())
            keys = os.read(sys.stdin.fileno(), 100)
            if not keys or b"q" in keys or b"Q" in keys:
                scope.cancel()
                return
            for key, order in ((b"b", BYTES), (b"c", COMMANDS)):
                if key in keys:
                    self._order = order
            if self._report is not None:
                self._report = report(str(self._watcher.server.address), self._watcher.reader.history, self._order)
            self.draw()

    async def _obey_signals(self, scope: trio.CancelScope) -> None:
        """Draw again if the size of the terminal changes, and leave it as it was if the process shall end."""
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT, *_ENDS) as signals:
            async for number in signals:
                if number in _ENDS:
                    self._ended = number
                    scope.cancel()
                    return
                if number == signal.SIGCONT:
                    _be_quiet()
                self.draw()


def _be_quiet() -> None:
    if sys.stdin is not None and sys.stdin.isatty():
        tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)
        # Otherwise, Ctrl-C drops output, and sometimes that which leaves the screen: it is dropped after the signal has been sent.
        modes = termios.tcgetattr(sys.stdin.fileno())
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)


@contextmanager
def _without_echo() -> Iterator[None]:
    """Get keys as they are pressed. At the end, the terminal is as it was before."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin.fileno())
    _be_quiet()
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
