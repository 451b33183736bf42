"""open_sender for asyncio: a sender for a connection, in a block."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from .._core import Sender, SendTask, SpoolLimits, check_send_timeout
from ._loop import asyncio_loop
from ._outlet import AsyncioOutlet, SocketOutlet, TransportOutlet
from ._tasks import cancel_again, outlast, wait_ended


class SenderBlock(AbstractAsyncContextManager[Sender, None]):
    """The context manager that `open_sender` returns."""

    def __init__(
        self, stream: asyncio.StreamWriter | socket.socket, limits: SpoolLimits, send_timeout: float, watch_peer: bool
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._send_timeout = send_timeout
        self._watch_peer = watch_peer

    async def __aenter__(self) -> Sender:
        outlet = self._open_outlet()
        self._sending = SendTask(outlet, self._limits, asyncio_loop())
        self._task = asyncio.get_running_loop().create_task(_run(self._sending, outlet))
        return Sender(self._sending, self._limits)

    def _open_outlet(self) -> AsyncioOutlet:
        if isinstance(self._stream, asyncio.StreamWriter):
            return TransportOutlet(self._stream, self._send_timeout, watched=self._watch_peer)
        return SocketOutlet(self._stream, self._send_timeout, watched=self._watch_peer)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self._sending.close()
        else:
            self._sending.give_up()
            self._task.cancel()
        cancelled = await outlast(self._wait)
        failure, self._sending.failure = self._sending.failure, None
        if failure is not None:
            raise failure
        if cancelled is not None:
            if exc is None:
                raise cancelled
            if not isinstance(exc, asyncio.CancelledError):
                cancel_again()

    async def _wait(self) -> None:
        """Wait for the sender's end, which is near if this is cancelled."""
        try:
            await wait_ended(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise


async def _run(sending: SendTask, outlet: AsyncioOutlet) -> None:
    try:
        await sending.run()
    finally:
        outlet.stop()


def open_sender(
    stream: asyncio.StreamWriter | socket.socket,
    *,
    limits: SpoolLimits | None = None,
    send_timeout: float = 30.0,
    watch_peer: bool = True,
) -> SenderBlock:
    """Start the task that owns the send side of a connection, on asyncio.

    ::

        async with trio_spool.asyncio.open_sender(writer) as sender:
            await sender.send(header)
            await sender.send_spool(rows())

    This is `trio_spool.open_sender` for asyncio and uvloop, with the same promises; the errors are the same, too. A limiter that
    `Sender.send_spool` is given is a `Limiter`.

    Args:
        stream: The writer of a stream, which may use TLS, or a connected socket that does not block. Nothing else may write to it
            from now on. It is closed if the peer leaves or stalls, or if the output is cut off; otherwise it is left open.
        limits: As for `trio_spool.open_sender`.
        send_timeout: As for `trio_spool.open_sender`.
        watch_peer: As for `trio_spool.open_sender`.

    Raises:
        TypeError: `stream` is neither a writer nor a socket, or `send_timeout` is not a number.
        ValueError: The socket blocks, or `send_timeout` is not greater than 0.
    """
    check_send_timeout(send_timeout)
    if isinstance(stream, socket.socket):
        if stream.gettimeout() != 0:
            raise ValueError(f"the socket must not block, or it would stop the event loop; call setblocking(False): {stream!r}")
    elif not isinstance(stream, asyncio.StreamWriter):
        raise TypeError(f"a sender on asyncio needs an asyncio.StreamWriter or a socket, not {stream!r}")
    return SenderBlock(stream, limits if limits is not None else SpoolLimits(), send_timeout, watch_peer)
