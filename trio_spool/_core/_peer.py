"""What the operating system knows about the peer of a socket, and what it can tell the peer.

How much has it taken?
    The system counts the bytes that it has accepted from this process and the peer's system has not yet acknowledged. A socket
    becomes writable only once a third of its send buffer is free, which is more than a megabyte for a buffer that has grown; the
    count falls long before. Behind that, everything is hidden: the peer's system takes more only when its program has made room for
    a step. Measured on Linux over loopback, with a program that read 300 bytes at a time: 64 to 95 kB, and with segments as small
    as those of Ethernet up to 130 kB, the whole receive buffer. A program that reads less than a step looks exactly like
    one that does not read, since it is its system that answers.

Has it left?
    See `_departures`.

How is it told that a stream was broken off?
    By a reset. Closing a socket looks the same to the peer after a part of a report and after the whole.
"""

from __future__ import annotations

import socket
import struct
import sys

if sys.platform == "linux":
    import fcntl
    import termios


def unacknowledged(descriptor: int) -> int | None:
    """Return how many bytes the system has accepted for a socket, and the peer not yet taken; None if the system does not say."""
    if sys.platform == "linux":
        try:
            return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return None
    return None


def reset_when_closed(descriptor: int) -> None:
    """Have closing a TCP socket reset the connection, whatever it has not sent. This does nothing to a closed or other socket."""
    try:
        with socket.socket(fileno=descriptor) as ours:
            try:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            finally:
                ours.detach()
    except OSError:
        pass
