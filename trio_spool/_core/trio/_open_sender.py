"""open_sender: a sender for a stream of Trio, in a block."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType

import trio

from .._limits import SpoolLimits
from ..sending import Sender, SendTask, check_send_timeout, protected
from ._loop import trio_loop
from ._outlet import SocketOutlet, StreamOutlet, TrioOutlet, socket_below
from ._tasks import Apart, check_left_by


class SenderBlock(AbstractAsyncContextManager[Sender, None]):
    """The context manager that `open_sender` returns."""

    def __init__(self, outlet: TrioOutlet, limits: SpoolLimits) -> None:
        self._outlet = outlet
        self._limits = limits

    @protected
    async def __aenter__(self) -> Sender:
        self._entered_by = trio.lowlevel.current_task()
        self._sending = SendTask(self._outlet, self._limits, trio_loop())
        self._task = Apart(partial(self._outlet.serve, self._sending.run))
        return Sender(self._sending, self._limits)

    @protected
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self._sending.close()
        else:
            self._sending.give_up()
            self._task.cancel()
        await self._task.wait()
        check_left_by(self._entered_by, "a sender", "Open the sender in the task that serves the connection")
        failure, self._sending.failure = self._sending.failure, None
        if failure is not None:
            raise failure


def open_sender(
    stream: trio.abc.SendStream, *, limits: SpoolLimits | None = None, send_timeout: float = 30.0, watch_peer: bool = True
) -> SenderBlock:
    """Start the task that owns the send side of a stream.

    ::

        async with trio_spool.open_sender(stream) as sender:
            await sender.send(header)
            await sender.send_spool(rows())

    Args:
        stream: The stream, on which nothing else may send from now on. It is closed if the peer leaves or stalls, or if the output
            is cut off; otherwise it is left open.
        limits: The bytes that `send` may queue and that each spool may hold. The batch also bounds one write.
        send_timeout: The number of seconds after which a peer that takes nothing is given up: the connection is reset, and tasks
            that send get `SpoolBrokenError`. `math.inf` waits for ever. Whatever the peer's system has acknowledged counts (on
            Linux; elsewhere, only room for more in this system's buffer, which is made in larger steps). But a system takes more
            only when its program has made room for a step: 60 to 130 kB with the buffers that Linux has by default, at most the
            whole receive buffer. So a peer that takes less than a step in `send_timeout` seconds is given up, however steadily it
            reads: with 30 seconds, perhaps one that reads less than 5 kB/s. It is given up from one to two times `send_timeout`
            after it last took something.
        watch_peer: Whether to look for a peer that leaves while a producer is silent, so that the producer is stopped then and not
            at its next fragment. A peer that closes only its sending side, and would go on reading, can't be told from one that has
            left. Turn this off for such peers, and where another task reads from the stream and so notices.

    Leaving the block normally waits until everything queued has been sent, or until the stream breaks; only `Sender.drain` tells
    which of the two happened. Leaving it by an exception or a cancellation does not wait. If something is left that was not sent
    whole, or if the last thing was a spool that failed or was stopped, the connection is then reset, so that the peer can tell: see
    `Sender.abort`.

    Raises:
        TypeError: `send_timeout` is not a number.
        ValueError: `send_timeout` is not greater than 0.
        RuntimeError: Another task left the block than the one that entered it.
        Exception: The stream failed in a way of its own. Tasks that send get `SpoolBrokenError`; the block raises this at its end.
    """
    check_send_timeout(send_timeout)
    socket = socket_below(stream)
    kind = SocketOutlet if isinstance(stream, trio.SocketStream) else StreamOutlet
    outlet = kind(stream, socket, send_timeout, watched=watch_peer)
    return SenderBlock(outlet, limits if limits is not None else SpoolLimits())
