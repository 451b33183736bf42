"""The send side of a stream of Trio, as an outlet. No other module of the library writes to one."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from .._errors import SpoolBrokenError
from .._raising import let_go
from ..sending import Outlet, progress, reset_when_closed
from ._departures import departures

# The bytes of one write to a stream that is not a plain socket. Such a stream does not say how much of a write it has taken, so
# taking all of a slice counts as progress. Picked, not measured: it is also the size of the largest TLS record.
SLICE = 16 * 1024


def socket_below(stream: trio.abc.AsyncResource) -> trio.socket.SocketType | None:
    """Return the socket at the bottom of a stream, if there is one."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


class TrioOutlet(Outlet):
    """What the outlets of all streams of Trio share.

    Args:
        stream: The stream.
        socket: The socket at the bottom of the stream, if there is one.
        send_timeout: The number of seconds in which the peer must take something.
        watched: Whether `watch` has an effect.
    """

    def __init__(
        self, stream: trio.abc.SendStream, socket: trio.socket.SocketType | None, send_timeout: float, *, watched: bool
    ) -> None:
        super().__init__()
        self._stream = stream
        self._socket = socket
        self._send_timeout = send_timeout
        self._to_watch = watched and socket is not None
        self._stop_watching: Callable[[], object] = bool

    async def serve(self, send: Callable[[], Awaitable[None]]) -> None:
        """Run a function that sends, with what has to run beside it, and watch the peer no longer when it has returned."""
        try:
            await send()
        finally:
            self._stop_watching()
            self._stop_watching = bool  # it refers to the sender

    def abort(self) -> None:
        if self._socket is not None:
            reset_when_closed(self._socket)

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)

    def watch(self, left: Callable[[], None]) -> None:
        if self._to_watch and self._socket is not None:
            self._to_watch = False
            descriptor, watching = self._socket.fileno(), departures()
            watching.watch(descriptor, left)
            self._stop_watching = partial(watching.forget, descriptor, left)

    def _progress(self) -> int | None:
        return None if self._socket is None else progress(self._socket)


class SocketOutlet(TrioOutlet):
    """A plain socket, which says how much it has accepted."""

    _socket: trio.socket.SocketType

    def offer(self, data: bytes) -> int:
        # Most replies fit in the socket's buffer. Writing at once saves them a cancel scope and a pass of the scheduler.
        self.batches += 1
        try:
            written = os.write(self._socket.fileno(), data)
        except OSError:
            return 0  # it would block, or the connection is broken: `write` finds out which
        self.bytes += written
        return written

    async def _write_some(self, rest: memoryview) -> int:
        taken = self._progress()
        while True:
            with trio.move_on_after(self._send_timeout):
                try:
                    return await self._socket.send(rest)
                except OSError as exc:
                    raise SpoolBrokenError(f"socket connection broken: {exc}") from exc
            before, taken = taken, self._progress()
            if before is None or taken is None or taken <= before:
                raise self._stall(self._send_timeout)

    def abort(self) -> None:
        super().abort()
        self._socket.close()


class StreamOutlet(TrioOutlet):
    """Any other stream, such as one with TLS. A write that was cancelled can't go on, so a task beside it looks for progress."""

    _writing: trio.CancelScope | None = None  # the write that is going on

    async def serve(self, send: Callable[[], Awaitable[None]]) -> None:
        self._began = trio.Event()  # a write has begun; replaced when that has been seen
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_for_progress)
            await super().serve(send)
            nursery.cancel_scope.cancel()

    async def _write_some(self, rest: memoryview) -> int:
        with trio.CancelScope() as self._writing:
            self._began.set()
            try:
                await self._stream.send_all(rest[:SLICE])
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                let_go(exc)
                raise
            finally:
                self._writing = None
            return min(len(rest), SLICE)
        raise self._stall(self._send_timeout)

    async def _look_for_progress(self) -> None:
        """Cancel a write of which the peer has taken nothing from one look to the next."""
        while True:
            await self._began.wait()
            self._began = trio.Event()
            while (writing := self._writing) is not None:
                before = self._progress()
                await trio.sleep(self._send_timeout)
                taken = self._progress()
                if self._writing is writing and (before is None or taken is None or taken <= before):
                    writing.cancel()
                    break

    def abort(self) -> None:
        super().abort()
        if self._writing is not None:
            self._writing.cancel()
