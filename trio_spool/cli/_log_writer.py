"""Writes the lines of the log to standard error, and never keeps the event loop waiting for whoever reads them.

A pipe that nobody reads, a terminal that was stopped and a disk that hangs make a write wait, some of them for ever. So a thread
writes, and lines wait for it up to a bound. Lines beyond that, and lines that can't be written (a closed pipe, a full disk), are
lost: how many is the first thing that is written when writing works again.
"""

from __future__ import annotations

import io
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

# Bytes of lines that wait to be written. Picked, not measured: some 5,000 lines, far more than come while a reader is merely busy.
MAX_WAITING: Final = 1024 * 1024
# Bytes of one line; the rest is cut off. Picked, not measured: a traceback has some thousands.
MAX_LINE: Final = 64 * 1024
# Seconds that the end of the program waits for lines to be written. Picked, not measured.
PATIENCE: Final = 1.0


class LogWriter:
    """Writes lines in a thread of its own, which starts with the first line. All threads may use it.

    Args:
        output: Where the lines go: a raw file, or a buffered one that is not a file, as in tests.
        lost: Makes the line that says how many lines were lost.
        max_waiting: The bytes of lines that may wait.
    """

    def __init__(self, output: Any, lost: Callable[[int], str], *, max_waiting: int = MAX_WAITING) -> None:
        self._output = output
        self._make_lost = lost
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        # Under the condition.
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._writing = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """How many lines were lost that nobody was told of."""
        return self._lost

    def put(self, line: str) -> None:
        """Write a line, which has no line break at its end, as soon as that is possible; or lose it. This does not wait."""
        data = line.encode("utf-8", "backslashreplace")
        if len(data) > MAX_LINE:
            data = data[:MAX_LINE] + b" [cut off]"
        with self._changed:
            if self._size + len(data) > self._max_waiting:
                self._lost += 1
                return
            self._lines.append(data + b"\n")
            self._size += len(data)
            if self._thread is None and not self._start():
                return
            self._changed.notify_all()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run_in_thread, name="trio-spool-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no further thread: the next line tries again, and all of them are bounded
            return False
        self._thread = thread
        return True

    def _run_in_thread(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._lines:
                    if self._closed:
                        return
                    self._changed.wait()
                self._writing = True
                lost, self._lost = self._lost, 0
                data = self._lines.popleft()
                self._size -= len(data) - 1
            if lost:
                data = self._make_lost(lost).encode("utf-8", "backslashreplace") + b"\n" + data
            if not self._write(data):
                with self._changed:
                    self._lost += lost + 1

    def _write(self, data: bytes) -> bool:
        """Write bytes, however long that takes, and return whether it worked."""
        rest = memoryview(data)
        try:
            while rest:
                written = self._output.write(rest)
                if written is None:  # somebody who shares the file has made it non-blocking
                    select.select((), (self._output,), ())
                else:
                    rest = rest[written:]
            self._output.flush()
        except (OSError, ValueError):
            return False
        return True

    def flush(self, patience: float = PATIENCE) -> bool:
        """Wait until all lines are written, and return whether they are: `patience` is the most seconds to wait."""
        end = time.monotonic() + patience
        with self._changed:
            while self._lines or self._writing:
                left = end - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self._changed.wait(left)
        return True

    def close(self, patience: float = PATIENCE) -> bool:
        """Write what waits, as `flush` does, and end the thread. Nothing may be written any more."""
        done = self.flush(patience)
        with self._changed:
            self._closed = True
            self._lines.clear()
            self._size = 0
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and done:
            thread.join()
        return done


def standard_error() -> Any:
    """Return standard error without a buffer: a thread that waits in a buffer's lock could not be left behind at exit."""
    try:
        return io.FileIO(sys.stderr.fileno(), "wb", closefd=False)
    except (OSError, ValueError, AttributeError):
        return getattr(sys.stderr, "buffer", sys.stderr)  # of a test
