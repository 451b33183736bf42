"""The send side of a connection of asyncio, as an outlet: a stream's transport, or a socket."""

from __future__ import annotations

import asyncio
import math
import socket
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

from .._core import Departures, Outlet, SpoolBrokenError, T, progress, reset_when_closed
from ._registry import OnePerLoop
from ._tasks import resume


def _make_departures() -> Departures:
    made = Departures()
    asyncio.get_running_loop().add_reader(made.fileno(), made.look)
    return made


departures = OnePerLoop("departures", _make_departures)


class AsyncioOutlet(Outlet):
    """What both kinds share: looking for a peer that has left, or that takes nothing.

    Args:
        send_timeout: The number of seconds in which the peer must take something.
        watched: Whether `watch` has an effect.
    """

    def __init__(self, send_timeout: float, *, watched: bool) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._send_timeout = send_timeout
        self._to_watch = watched
        self._stop_watching: Callable[[], object] = bool
        self._looking: asyncio.TimerHandle | None = None

    @abstractmethod
    def _descriptor(self) -> int:
        """Return the descriptor of the socket, or -1 if there is none, or if it may have been closed."""

    def watch(self, left: Callable[[], None]) -> None:
        if self._to_watch and (descriptor := self._descriptor()) >= 0:
            self._to_watch = False
            watching = departures()
            watching.watch(descriptor, left)
            self._stop_watching = partial(watching.forget, descriptor, left)

    def stop(self) -> None:
        """Watch the peer no longer."""
        self._stop_watching()
        self._stop_watching = bool  # it refers to the sender

    def abort(self) -> None:
        self._ask_system(reset_when_closed)

    def _progress(self) -> int | None:
        return self._ask_system(progress)

    def _ask_system(self, ask: Callable[[socket.socket], T]) -> T | None:
        """Call a function with the socket. uvloop's object for it knows no options, so this makes one with the same descriptor."""
        if (descriptor := self._descriptor()) < 0:
            return None
        try:
            borrowed = socket.socket(fileno=descriptor)
        except OSError:
            return None  # it has been closed
        try:
            return ask(borrowed)
        finally:
            borrowed.detach()

    def _look_later(self) -> None:
        if self._send_timeout != math.inf:
            self._looking = self._loop.call_later(self._send_timeout, self._look, self._progress())

    def _look(self, before: int | None) -> None:
        now = self._progress()
        if before is None or now is None or now <= before:
            self.stalled = True
            self.abort()
        else:
            self._look_later()

    def _look_no_more(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def _raise_broken(self, why: object) -> None:
        if self.stalled:
            raise self._stall(self._send_timeout)
        raise SpoolBrokenError(f"the connection is broken: {why}")


class TransportOutlet(AsyncioOutlet):
    """The transport of a stream, which takes everything at once and keeps it until the socket accepts it.

    While the sender owns it, the stream waits until the transport keeps nothing, so that memory stays bounded by one batch.
    """

    def __init__(self, writer: asyncio.StreamWriter, send_timeout: float, *, watched: bool) -> None:
        super().__init__(send_timeout, watched=watched)
        self._writer = writer
        self._transport = writer.transport
        self._limits = self._transport.get_write_buffer_limits()
        self._transport.set_write_buffer_limits(high=0)

    def _descriptor(self) -> int:
        # uvloop's socket goes on naming its descriptor when that has been closed.
        below = None if self._transport.is_closing() else self._transport.get_extra_info("socket")
        return -1 if below is None else below.fileno()

    def stop(self) -> None:
        super().stop()
        if not self._transport.is_closing():
            low, high = self._limits
            self._transport.set_write_buffer_limits(high=high, low=low)

    def offer(self, data: bytes) -> int:
        self.batches += 1
        if self._transport.is_closing():
            return 0  # `write` says so
        self._transport.write(data)
        written = max(0, len(data) - self._transport.get_write_buffer_size())
        self.bytes += written
        return written

    async def _write_some(self, rest: memoryview) -> int:
        if self._transport.is_closing():
            self._raise_broken("it was closed before")
        self._look_later()
        try:
            await self._writer.drain()
        except OSError as exc:
            self._raise_broken(exc)
        finally:
            self._look_no_more()
        if self._transport.is_closing():
            self._raise_broken("it was closed before everything was sent")
        return len(rest)

    def abort(self) -> None:
        super().abort()
        self._transport.abort()


class SocketOutlet(AsyncioOutlet):
    """A socket, which does not block."""

    def __init__(self, ours: socket.socket, send_timeout: float, *, watched: bool) -> None:
        super().__init__(send_timeout, watched=watched)
        self._socket = ours
        self._writable: asyncio.Future[None] | None = None

    def _descriptor(self) -> int:
        return self._socket.fileno()

    def offer(self, data: bytes) -> int:
        self.batches += 1
        try:
            written = self._socket.send(data)
        except OSError:
            return 0  # it would block, or the connection is broken: `write` finds out which
        self.bytes += written
        return written

    async def _write_some(self, rest: memoryview) -> int:
        try:
            while True:
                try:
                    return self._socket.send(rest)
                except BlockingIOError:
                    await self._wait_writable()
        except OSError as exc:
            self._raise_broken(exc)
            raise

    async def _wait_writable(self) -> None:
        self._writable = self._loop.create_future()
        descriptor = self._socket.fileno()
        self._loop.add_writer(descriptor, resume, self._writable)
        self._look_later()
        try:
            await self._writable
        finally:
            self._look_no_more()
            if self._socket.fileno() >= 0:
                self._loop.remove_writer(descriptor)
            self._writable = None

    def abort(self) -> None:
        super().abort()
        if self._writable is not None:
            self._loop.remove_writer(self._socket.fileno())
            resume(self._writable)
        self._socket.close()
