"""What the operating system knows about the peer of a socket, and what it can tell the peer.

How much has it taken?
    Linux counts the bytes that the peer's system has acknowledged. Whether a socket is writable says less: for a Unix socket it
    takes three quarters of the send buffer; for TCP a third of up to 4 MB, unless a mark is set, as Trio does, of 16 KiB. And a
    stream on top, such as TLS, tells nothing until a whole write has been accepted.

    What is behind the peer's system is hidden. Once its receive buffer is full, it takes more only when its program has made room
    for a step. Measured on Linux over loopback, with a program that read 300 bytes at a time: 64 to 95 kB, and with segments as
    small as those of Ethernet up to 130 kB, the whole receive buffer. Until then, a program that reads looks exactly like one that
    does not, since it is its system that answers: neither the queue in this system nor anything in TCP_INFO differs.

Has it left?
    See `_departures`.

How is it told that a stream was broken off?
    By a reset. Closing a socket looks the same to the peer after a part of a report and after the whole.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Protocol

if sys.platform == "linux":
    import fcntl
    import termios

# Where the kernel's struct tcp_info, which grows only at its end, has tcpi_bytes_acked: since Linux 4.1.
_BYTES_ACKED = struct.Struct("120xQ")


class Socket(Protocol):
    """A socket of the standard library, of Trio, or of a transport of asyncio."""

    @property
    def family(self) -> int:
        """The family of its addresses."""
        ...

    def fileno(self) -> int:
        """Return its descriptor."""
        ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option."""
        ...

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """Set an option."""


def progress(peer: Socket) -> int | None:
    """Return a number that grows when the peer takes bytes, while nothing is written; None if the system has no such number.

    For TCP it is the number of bytes that were acknowledged, for other sockets the number of those that were not, with a minus.
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError, struct.error):  # the socket has been closed, or is of a strange kind
            if peer.family in (socket.AF_INET, socket.AF_INET6):
                return int(_BYTES_ACKED.unpack(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size))[0])
            return -int.from_bytes(fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return None


def kernel_queues(peer: Socket) -> tuple[int, int] | None:
    """Return how many bytes the system has received and the program has not read, and how many the peer has not acknowledged.

    None where the system does not say: anywhere but on Linux, or if the socket has been closed.
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            descriptor = peer.fileno()
            unread, unsent = (fcntl.ioctl(descriptor, request, bytes(4)) for request in (termios.FIONREAD, termios.TIOCOUTQ))
            return int.from_bytes(unread, sys.byteorder), int.from_bytes(unsent, sys.byteorder)
    return None


def reset_when_closed(peer: Socket) -> None:
    """Have closing a TCP socket reset the connection, whatever it has not sent. This does nothing to a closed or other socket."""
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
