"""Servers for tests in a process of their own, which is started once and runs all of them.

A program may keep the interpreter while it waits for an answer, as Couchbase's SDK does when it begins a scan, and then a server in
the same process can't answer. The servers share nothing but their process: each is a service of its own, on a port of its own.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from ._errors import ServerDiedError

# Seconds for the process to end by itself. Picked, not measured: it only closes what is open.
END_TIMEOUT: Final = 5.0
# The lines of the log in a message. Picked: what fits on a screen.
LINES: Final = 20
# Modules are looked for where this process has this package from, and never in the current directory, where a project may have a
# module of any name.
_BOOT: Final = (
    "import sys; sys.path[:] = filter(None, sys.path); {root!r} in sys.path or sys.path.insert(0, {root!r}); "
    "from trio_spool.testing._host import main; main()"
)


class HostProcess:
    """The process that runs the servers. Any thread can use it.

    It can't be left behind: it ends when the socket to it is closed, or when this process is gone, however that has ended.

    Attributes:
        closed: Whether `close` has been called.
    """

    def __init__(self) -> None:
        self.closed = False
        self._owner = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 `close` closes it
        self._read = 0  # how much of the log has been taken
        self._death: str | None = None
        self._lock = threading.Lock()  # for the attributes above
        self._control, theirs = socket.socketpair()
        root = str(Path(__file__).parent.parent.parent)
        with theirs:
            # In a session of its own, it does not get the terminal's Ctrl-C: tests can still use its servers while they clean up.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT.format(root=root), str(self._owner)],
                stdin=theirs.fileno(), stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def usable(self) -> bool:
        """Whether it runs, and was started by this process and not by one that has been forked since."""
        return not self.closed and self._owner == os.getpid() and self._process.poll() is None

    def connect(self) -> socket.socket:
        """Return a socket on which to ask for a server.

        Raises:
            OSError: The process has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        return ours

    def take_log(self) -> str:
        """Return what the servers have logged since the last call."""
        with self._lock:
            return "" if self.closed else self._take_log()

    def _take_log(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), size - self._read, self._read)
        self._read = size
        return text.decode("utf-8", "replace")

    def died(self) -> ServerDiedError:
        """Return the error that says how the process has ended."""
        with self._lock:
            if self._death is None:
                self._death = self._describe_death()
            return ServerDiedError(self._death)

    def _describe_death(self) -> str:
        try:
            status = self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"the server's process {self.pid} has closed its connections, but does not end"
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        last = [] if self.closed else self._take_log().splitlines()[-LINES:]
        log = "; its log ends:\n" + "\n".join(last) if last else ""
        return f"the server's process {self.pid} {how} while the server was in use{log}"

    def close(self) -> None:
        """End the process, and all servers in it."""
        with self._lock:
            if self.closed or self._owner != os.getpid():
                return
            self.closed = True
        self._control.close()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_lock = threading.Lock()  # for the list
# The last one is in use. Those before it have ended, or belong to the process from which this one was forked.
_hosts: list[HostProcess] = []


def current_host() -> HostProcess:
    """Return the process that runs the servers, and start it if there is none."""
    if not sys.executable:
        raise RuntimeError("the path of the Python interpreter is unknown, so no process can be started: use thread=True")
    with _lock:
        if not _hosts:
            atexit.register(close_host)
        if not _hosts or not _hosts[-1].usable():
            _hosts.append(HostProcess())
        return _hosts[-1]


def close_host() -> None:
    """End the process that runs the servers. The next server starts another one."""
    with _lock:
        for host in _hosts:
            host.close()
