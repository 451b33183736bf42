"""A supervisor as systemd is one: it receives what services say, and starts them with sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.process import command

# Becomes a program whose file descriptors from 3 on are those of the arguments, and which the variables are meant for.
_STARTER = """
import os, sys
count = int(sys.argv[1])
fds = [os.dup(int(fd)) for fd in sys.argv[2:2 + count]]  # to where none of them is in the way
fds = [os.dup(fd) if fd < 3 + count else fd for fd in fds]
for place, fd in enumerate(fds, 3):
    os.dup2(fd, place)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ["LISTEN_FDS"] = str(count)
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class Receiver:
    """Receives what services say, as systemd does.

    Args:
        address: A path, or a name that begins with ``@``.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self.socket.settimeout(60)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self) -> dict[str, str]:
        """Return the next news."""
        return dict(line.split("=", 1) for line in self.socket.recv(65536).decode().split("\n"))

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the next news that have a variable."""
        while name not in (news := self.receive()):
            pass
        return news

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until nothing has been said for so long."""
        self.socket.settimeout(seconds)
        try:
            while True:
                self.socket.recv(65536)
        except TimeoutError:
            self.socket.settimeout(60)


def start_with_sockets(
    sockets: Sequence[Any], *arguments: str, names: str | None = None, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start ``trio-spool serve`` with sockets that are open already, or with other files that have a descriptor.

    Args:
        sockets: The sockets.
        arguments: Of ``trio-spool serve``.
        names: LISTEN_FDNAMES.
        env: Further variables. LISTEN_PID is that of the process unless it is here.
        options: Of `subprocess.Popen`.
    """
    fds = [str(each.fileno()) for each in sockets]
    variables = {**os.environ, **({} if names is None else {"LISTEN_FDNAMES": names}), **(env or {})}
    return subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(len(fds)), *fds, *command("serve", *arguments)],
        env=variables, pass_fds=[int(fd) for fd in fds], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
