"""Reading requests: what `trio.SocketStream.receive_some` does, sooner."""

from __future__ import annotations

import os
from time import perf_counter

import trio

# A client that sends its next request this soon after its reply, in seconds, is expected to do so again.
SOON = 0.0001
# So often is it looked whether it has, once in each pass of the scheduler, before the system is asked to tell.
_LOOKS = 3


class Receiver:
    """Receives what a peer sends that waits for replies in between.

    A plain socket is waited for before it is read, since a server has most often answered all that had arrived; and it is read in
    the pass of the scheduler in which it turned readable. From a peer that answers at once it is read without having been waited
    for: to fall asleep and be woken takes longer than such a peer does.

    Args:
        stream: Nobody else reads from it.
        soon: As `SOON`.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, soon: float = SOON) -> None:
        self._stream = stream
        self._soon = soon
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._prompt = False  # the last request came soon

    async def receive_some(self, size: int) -> bytes:
        """Wait until the peer has sent something, and return it: at most `size` bytes, none at the end of the stream.

        If cancelled, nothing has been read.

        Raises:
            trio.BrokenResourceError: The connection is broken.
            trio.ClosedResourceError: The stream was closed, before or in the meantime.
        """
        socket = self._socket
        if socket is None:
            return bytes(await self._stream.receive_some(size))
        if self._prompt:
            for _ in range(_LOOKS):
                await trio.lowlevel.checkpoint()
                if (data := self._read_nowait(socket, size)) is not None:
                    return data
        while True:
            started = perf_counter()
            await trio.lowlevel.wait_readable(self._descriptor(socket))
            self._prompt = perf_counter() - started < self._soon
            if (data := self._read_nowait(socket, size)) is not None:
                return data

    @staticmethod
    def _descriptor(socket: trio.socket.SocketType) -> int:
        descriptor = socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("the stream was closed")
        return descriptor

    def _read_nowait(self, socket: trio.socket.SocketType, size: int) -> bytes | None:
        """Return what has arrived, if something has."""
        try:
            return os.read(self._descriptor(socket), size)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc
