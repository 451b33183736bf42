"""One connection: the reader, which runs the commands, and the sender, which writes."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio
from trio_util import move_on_when

from .._core import Sender, SpoolStatistics, open_sender, receive_some
from ..engine import EngineError, Operation, Outcome, Problem
from ..mcbp import NEED_DATA, Opcode, Rejected, RemoteProtocolError, Request, RequestDecoder, Status
from ._exchange import EXCHANGE_SIZE, Exchange
from ._session import Session
from .commands import COMMANDS, get_run, refuse_too_big

if TYPE_CHECKING:
    from ._service import Service

# What is read at once. It bounds how many commands run before the other connections' get their turn: some 500 small ones.
READ_SIZE = 16 * 1024


class Connection:
    """What one client has going on.

    Attributes:
        number: Counts connections, from 1.
    """

    def __init__(self, service: Service, number: int, peer: str) -> None:
        self._service = service
        self.number = number
        self._peer = peer
        self._began = service.clock.uptime()
        self._session = Session()
        self._exchange = Exchange(service, self._session)
        self._decoder = RequestDecoder(max_value=service.settings.max_item_size)
        self._sender: Sender | None = None
        self._reading = trio.CancelScope()
        self._idle = False  # waiting for a request, with nothing half done
        self._stopping = False
        self._commands = 0
        self._bytes_read = 0
        self._streaming = ""

    async def run(self, stream: trio.abc.Stream) -> None:
        """Serve until the client leaves, breaks the protocol, or the service stops.

        What can end it: end of file or an error while reading, a frame that can't be understood, QUIT, a peer that does not read
        (the sender closes the stream, and reading fails), a stop of the service while no command runs, and cancellation. What was
        answered before any of these but the last is still sent, as far as the peer takes it.
        """
        settings = self._service.settings
        async with open_sender(stream, limits=settings.limits, send_timeout=settings.send_timeout) as sender:
            self._sender = sender
            with self._reading:
                await self._serve(stream, sender)

    async def _serve(self, stream: trio.abc.ReceiveStream, sender: Sender) -> None:
        ahead = b""
        try:
            while not self._exchange.closing:
                data = ahead or await self._receive(stream, sender)
                if not data:
                    return
                self._decoder.receive_data(data)
                ahead = await self._answer(stream, sender)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone
        except RemoteProtocolError:
            self._service.counters.bad_requests += 1
            await self._finish(sender)

    async def _receive(self, stream: trio.abc.ReceiveStream, sender: Sender) -> bytes:
        if self._stopping and not self._decoder.buffered:
            return b""
        self._idle = not self._decoder.buffered
        await sender.offered()
        data = await receive_some(stream, READ_SIZE)
        self._idle = False
        self._bytes_read += len(data)
        self._service.counters.bytes_read += len(data)
        return data

    def stop(self) -> None:
        """Close the connection as soon as what was asked has been answered."""
        self._stopping = True
        if self._idle:
            self._reading.cancel()

    async def _answer(self, stream: trio.abc.ReceiveStream, sender: Sender) -> bytes:
        """Answer every request that has been received, and return what was read in the meantime."""
        exchange = self._exchange
        decoder = self._decoder
        counts: dict[int, int] = {}
        ahead = b""
        started = perf_counter()
        while not exchange.closing:
            if not exchange.operations and (gets := decoder.next_gets()):
                counts[Opcode.GET] = counts.get(Opcode.GET, 0) + len(gets)
                while gets:
                    get_run(exchange, gets)
                    if exchange.size > EXCHANGE_SIZE:
                        await self._finish(sender)
            event = decoder.next_event()
            if event is NEED_DATA:
                break
            if isinstance(event, Rejected):
                self._reject(event)
            else:
                opcode = event.opcode
                counts[opcode] = counts.get(opcode, 0) + 1
                COMMANDS[opcode](exchange, event)
            if exchange.stream is not None:
                await self._finish(sender)
                ahead += await self._stream(stream, sender, event)
            elif exchange.size > EXCHANGE_SIZE:
                await self._finish(sender)
            decoder.datatypes = self._session.datatypes
        await self._finish(sender)
        seconds = perf_counter() - started
        for opcode, count in counts.items():
            self._commands += count
            self._service.timings.record(opcode, seconds, count)
        return ahead

    def _reject(self, rejected: Rejected) -> None:
        exchange, session = self._exchange, self._session
        self._service.counters.bad_requests += 1
        if rejected.too_big:
            refuse_too_big(exchange, rejected)
            return
        exchange.reply(session.error(rejected.opcode, rejected.opaque, rejected.status, rejected.reason))
        if rejected.lost or (rejected.fatal and session.classic):
            exchange.close()

    async def _finish(self, sender: Sender) -> None:
        """Carry out the operations that were collected, and queue all replies."""
        exchange = self._exchange
        reader = exchange.reader
        if exchange.operations:
            reader.release()
            exchange.resolve(await self._submit(list(exchange.operations)))
        data = exchange.take() if exchange.replies else b""
        if data:
            try:
                sender.send_nowait(data)
            except trio.WouldBlock:
                reader.release()
                await sender.send(data)
        reader.release()

    async def _submit(self, operations: list[Operation]) -> list[Outcome]:
        """Hand operations to the writer thread and wait until they are committed.

        If cancelled while waiting, they may be committed all the same.
        """
        task = trio.lowlevel.current_task()
        outcomes: list[Outcome] = []
        waiting = True

        def done(answer: list[Outcome]) -> None:
            nonlocal waiting
            outcomes.extend(answer)
            if waiting:
                waiting = False
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal waiting
            waiting = False
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            self._service.engine.submit(operations, done)
        except EngineError:
            return [Outcome(Problem.FAILED)] * len(operations)
        await trio.lowlevel.wait_task_rescheduled(abort)
        return outcomes

    async def _stream(self, stream: trio.abc.ReceiveStream, sender: Sender, request: object) -> bytes:
        """Send what a worker generates. Meanwhile read ahead, which also notices a client that leaves."""
        exchange, service = self._exchange, self._service
        producer, exchange.stream = exchange.stream, None
        assert producer is not None and isinstance(request, Request)
        ahead = bytearray()
        left = False

        async def peer_leaves() -> None:
            nonlocal left
            try:
                while len(ahead) < service.settings.look_ahead:
                    data = await receive_some(stream, service.settings.look_ahead - len(ahead))
                    if not data:
                        break
                    ahead.extend(data)
                else:
                    await trio.sleep_forever()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            left = True

        service.counters.streams += 1
        self._streaming = request.key.decode("utf-8", "replace")
        try:
            async with move_on_when(peer_leaves):
                try:
                    await sender.send_spool(producer(), limiter=service.limiter)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    left = True
                except Exception:
                    service.counters.stream_failures += 1
                    service.log.exception("stream failed", connection=self.number, key=self._streaming)
                    exchange.error(request, Status.INTERNAL, "see the service's log")
        finally:
            self._streaming = ""
        if left:
            exchange.close()
        service.counters.bytes_read += len(ahead)
        self._bytes_read += len(ahead)
        return bytes(ahead)

    def bytes_written(self) -> int:
        """Return what the peer's side has accepted."""
        return 0 if self._sender is None else self._sender.statistics().bytes

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its spools."""
        return SpoolStatistics() if self._sender is None else self._sender.statistics().spools

    def describe(self) -> dict[str, object]:
        """Describe it, for the statistics."""
        description: dict[str, object] = {
            "peer": self._peer,
            "agent": self._session.agent,
            "session": "classic" if self._session.classic else "couchbase",
            "age": self._service.clock.uptime() - self._began,
            "commands": self._commands,
            "bytes_read": self._bytes_read,
            "buffered": self._decoder.buffered,
            "streaming": self._streaming,
        }
        if self._sender is not None:
            statistics = self._sender.statistics()
            description.update(
                bytes_written=statistics.bytes,
                queued=statistics.queued,
                high_water=statistics.high_water,
                blocked_seconds=round(statistics.blocked_seconds, 3),
                spool={
                    "fragments": statistics.spools.fragments,
                    "bytes": statistics.spools.bytes,
                    "batches": statistics.spools.batches,
                    "wakeups": statistics.spools.wakeups,
                    "turns": statistics.spools.turns,
                    "blocked_seconds": round(statistics.spools.blocked_seconds, 3),
                    "high_water": statistics.spools.high_water,
                },
            )
        return description
