"""Sockets that a supervisor has opened: systemd's protocol of sd_listen_fds(3).

The sockets are the file descriptors from 3 on. LISTEN_FDS says how many there are, LISTEN_FDNAMES what the supervisor calls them,
and LISTEN_PID for which process they are meant: another one, which has inherited the variables, must not touch its descriptors.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import MutableMapping
from contextlib import ExitStack, suppress
from typing import Final

import attrs

from ..._files import explain
from .._listening import ListenError
from ..settings import Address, TcpAddress, UnixAddress

FIRST: Final = 3
# A bound for what a malformed variable may say. Picked, not measured: systemd's own is below it, as the limit of descriptors is.
_MAX_SOCKETS: Final = 1024
# The name of sockets whose connections are encrypted. It may be followed by a hyphen and anything else.
TLS_NAME: Final = "tls"
# Names that say that a socket is for somebody else than clients. The service opens these ports by itself.
_NOT_FOR_CLIENTS: Final = ("management", "metrics")


@attrs.frozen
class InheritedSocket:
    """A socket that the supervisor has opened, and that listens.

    Attributes:
        socket: The socket.
        name: What the supervisor calls it, or an empty string.
        address: Where it listens, with TLS if its name says so.
    """

    socket: socket.socket
    name: str
    address: Address


def inherited_sockets(environ: MutableMapping[str, str], first: int = FIRST) -> list[InheritedSocket]:
    """Take the sockets that are meant for this process, and their variables out of the environment.

    Args:
        environ: The environment.
        first: The first file descriptor, for tests.

    Raises:
        ListenError: They can't be used.
    """
    count, pid, names = (environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    environ.pop("LISTEN_PIDFDID", None)
    if not count or not pid:
        return []
    if _number("LISTEN_PID", pid) != os.getpid():
        return []
    number = _number("LISTEN_FDS", count)
    if number > _MAX_SOCKETS:
        raise ListenError(f"LISTEN_FDS is {number}: the supervisor can pass at most {_MAX_SOCKETS} sockets")
    named = names.split(":") if names else []
    with ExitStack() as refused:  # closes them, unless all can be used
        found = []
        for index in range(number):
            found.append(_inherit(first + index, named[index] if index < len(named) else ""))
            refused.callback(found[-1].socket.close)
        refused.pop_all()
    return found


def _number(variable: str, text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 10:
        raise ListenError(f"{variable} must be a number, as the supervisor sets it; got {text!r:.40}; unset it")
    return int(text)


def _inherit(fd: int, name: str) -> InheritedSocket:
    what = f"file descriptor {fd}" + (f" ({name})" if name else "") + ", which the supervisor has passed,"
    try:
        os.set_inheritable(fd, False)
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ListenError(f"{what} is not a socket: use ListenStream=")
        found = socket.socket(fileno=fd)
    except OSError as exc:
        why = "is not open" if exc.errno == errno.EBADF else f"can't be used: {explain(exc)}"
        raise ListenError(f"{what} {why}: check LISTEN_FDS, and what has started this process") from exc
    try:
        return InheritedSocket(found, name, _address(found, what, name))
    except BaseException:
        found.close()
        raise


def _address(found: socket.socket, what: str, name: str) -> Address:
    kind = name.partition("-")[0]
    if kind in _NOT_FOR_CLIENTS:
        raise ListenError(f"{what} would be for clients: leave it out, and give the address with --{kind}")
    tls = kind == TLS_NAME
    if found.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        raise ListenError(f"{what} is neither a TCP socket nor a Unix domain socket: use ListenStream= with a port or a path")
    if found.type != socket.SOCK_STREAM:
        raise ListenError(f"{what} is not a stream socket: use ListenStream=")
    with suppress(AttributeError):  # a system that can't tell
        if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ListenError(f"{what} does not listen: is it a connection? Use Accept=no")
    place = found.getsockname()
    if found.family != socket.AF_UNIX:
        return TcpAddress(place[0].partition("%")[0], place[1], tls)
    if tls:
        raise ListenError(f"{what} is a Unix domain socket, and these have no TLS: give it another name with FileDescriptorName=")
    return UnixAddress("@" + os.fsdecode(place[1:]) if isinstance(place, bytes) else place)
