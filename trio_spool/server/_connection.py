"""One connection: the reader, which runs the commands, and the sender, which writes."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio

from .._core import Receiver, Sender, SpoolStatistics, open_sender
from ..auth import User
from ..mcbp import MAX_FRAME, NEED_DATA, Opcode, Rejected, RemoteProtocolError, Request, RequestDecoder
from ._exchange import EXCHANGE_SIZE, Exchange
from ._jobs import MOST_JOBS, Answer, Jobs, is_barrier
from ._session import Door, Session
from .binary import COMMANDS, RULES, admit, get_run, is_plain, refuse_too_big

if TYPE_CHECKING:
    from ._buckets import Bucket
    from ._service import Service

# What is read at once. It bounds how many commands run before the other connections' get their turn: some 500 small ones.
READ_SIZE = 16 * 1024
# As much is read ahead at once: room for it is made before it is known how much has come.
READ_AHEAD_SIZE = 64 * 1024
# The largest frame from a client that has not logged in.
MAX_FRAME_BEFORE_LOGIN = 16 * 1024
# What changes the session: what is before it is carried out, and encoded, for the session as it was.
_CHANGING = frozenset({Opcode.HELLO, Opcode.SASL_AUTH, Opcode.SASL_STEP, Opcode.SELECT_BUCKET})


class Connection:
    """What one client has going on.

    Attributes:
        number: Counts connections, from 1.
    """

    def __init__(self, service: Service, number: int, peer: str, door: Door) -> None:
        self._service = service
        self.number = number
        self._peer = peer
        self._began = service.clock.uptime()
        self._session = Session(door, service.buckets.default, RULES)
        self._exchange = Exchange(service, self._session)
        self._decoder = RequestDecoder(max_value=service.settings.max_item_size)
        self._follow_session()
        self._sender: Sender | None = None
        self._receiver: Receiver
        self._jobs: Jobs
        self._reading = trio.CancelScope()
        self._ahead = bytearray()  # read while jobs were running
        self._idle = False  # waiting for a request, with nothing half done but perhaps jobs
        self._stopping = False
        self._commands = 0
        self._bytes_read = 0

    async def run(self, stream: trio.abc.Stream) -> None:
        """Serve until the client leaves, breaks the protocol, or the service stops.

        What can end it: end of file or an error while reading, a frame that can't be understood, QUIT, a peer that does not read
        (the sender closes the stream, and reading fails), a stop of the service while no command runs, and cancellation. What was
        answered before any of these but the last is still sent, as far as the peer takes it.
        """
        settings = self._service.settings
        self._receiver = Receiver(stream)
        async with open_sender(stream, limits=settings.limits, send_timeout=settings.send_timeout) as sender:
            with self._reading:
                async with trio.open_nursery() as nursery:
                    self._sender = sender
                    self._jobs = Jobs(self._service, nursery, self.number, sender, self._job_ended)
                    if self._session.user is None:
                        nursery.start_soon(self._expect_login)
                    await self._serve(sender)
                    nursery.cancel_scope.cancel()

    async def _expect_login(self) -> None:
        """End the connection if nobody has logged in after a while."""
        await trio.sleep(self._service.settings.login_timeout)
        if self._session.user is None:
            self._service.counters.auth_errors += 1
            self._reading.cancel()

    def log_in(self, user: User) -> None:
        """Let in whom the client has proved to be by other means than a login."""
        self._session.log_in(user)
        self._follow_session()

    def leave(self, bucket: Bucket, *, stay: bool) -> None:
        """End the connection if it works on a bucket, which is going; or let it stay, without one."""
        if self._session.bucket is bucket:
            self._session.leave_bucket()
            if not stay:
                self._reading.cancel()

    def _follow_session(self) -> None:
        """Decode what comes next as the session is now."""
        decoder, session = self._decoder, self._session
        session.changed = False
        decoder.datatypes = session.datatypes
        decoder.collections = session.collections
        decoder.max_frame = MAX_FRAME if session.user is not None else MAX_FRAME_BEFORE_LOGIN
        self._exchange.follow_session()

    async def _serve(self, sender: Sender) -> None:
        try:
            while not self._exchange.closing and (data := await self._receive(sender)):
                self._decoder.receive_data(data)
                await self._answer(sender)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone
        except RemoteProtocolError:
            self._service.counters.bad_requests += 1
            await self._finish(sender)

    async def _receive(self, sender: Sender) -> bytes:
        if self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            return data
        if self._stopping and not self._decoder.buffered:
            await self._jobs.wait(0, trio.sleep_forever)
            return b""
        self._idle = not self._decoder.buffered
        data = await self._receiver.receive_some(READ_SIZE)
        self._idle = False
        self._count_read(data)
        return data

    async def _read_ahead(self) -> None:
        """Read requests while jobs keep us from answering them, up to a bound; return if the client leaves."""
        look_ahead = self._service.settings.look_ahead
        try:
            while len(self._ahead) < look_ahead:
                data = await self._receiver.receive_some(min(look_ahead - len(self._ahead), READ_AHEAD_SIZE))
                if not data:
                    return
                self._ahead += data
                self._count_read(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await trio.sleep_forever()

    def _count_read(self, data: bytes) -> None:
        self._bytes_read += len(data)
        self._service.counters.bytes_read += len(data)

    def stop(self) -> None:
        """Close the connection as soon as what was asked has been answered."""
        self._stopping = True
        self._job_ended()

    def _job_ended(self) -> None:
        if self._stopping and self._idle and not self._jobs.running:
            self._reading.cancel()

    async def _answer(self, sender: Sender) -> None:
        """Answer every request that has been received."""
        exchange = self._exchange
        decoder = self._decoder
        jobs = self._jobs
        counts: dict[int, int] = {}
        session = self._session
        exchange.began = started = perf_counter()
        while not exchange.closing:
            if not exchange.operations and not session.allowed[Opcode.GET] and (gets := decoder.next_gets()):
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
                if exchange.replies and event.opcode in _CHANGING:
                    await self._finish(sender)
                if jobs.running and is_barrier(event):
                    await self._finish(sender)
                    await jobs.wait(0, self._read_ahead)
                request: Request | None = event
                if session.allowed[event.opcode] or not is_plain(event):
                    request = admit(exchange, event)
                if request is not None:
                    COMMANDS[event.opcode](exchange, request)
                if exchange.work is not None and request is not None:
                    await self._start_job(sender, request)
                else:
                    counts[event.opcode] = counts.get(event.opcode, 0) + 1
            if exchange.size > EXCHANGE_SIZE:
                await self._finish(sender)
            if session.changed:
                self._follow_session()
        await self._finish(sender)
        seconds = perf_counter() - started
        try:
            await sender.offered()  # before anything that the client need not wait for
        finally:
            for opcode, count in counts.items():
                self._commands += count
                self._service.timings.record(opcode, seconds, count)

    async def _start_job(self, sender: Sender, request: Request) -> None:
        """Start a long command once everything before it is done that it might depend on; wait for it if what follows might."""
        exchange, jobs = self._exchange, self._jobs
        work, exchange.work = exchange.work, None
        assert work is not None
        await self._finish(sender)
        await jobs.wait(MOST_JOBS - 1, self._read_ahead)
        self._commands += 1
        jobs.start(request, exchange, work)
        if not self._session.unordered or is_barrier(request):
            await jobs.wait(0, self._read_ahead)

    def _reject(self, rejected: Rejected) -> None:
        exchange, session = self._exchange, self._session
        self._service.counters.bad_requests += 1
        if rejected.too_big and not session.allowed[rejected.opcode]:
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
            exchange.resolve(await exchange.bucket.operate(list(exchange.operations)))
        data = exchange.take() if exchange.replies else b""
        if data:
            try:
                sender.send_nowait(data)
            except trio.WouldBlock:
                reader.release()
                await sender.send(data)
        reader.release()

    def bytes_written(self) -> int:
        """Return what the peer's side has accepted."""
        return 0 if self._sender is None else self._sender.statistics().bytes

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its spools."""
        return SpoolStatistics() if self._sender is None else self._sender.statistics().spools

    def jobs(self) -> list[Answer]:
        """Return the long commands that are running."""
        return list(self._jobs.running) if self._sender is not None else []

    def describe(self) -> dict[str, object]:
        """Describe it, for the statistics."""
        description: dict[str, object] = {
            "peer": self._peer,
            "agent": self._session.agent,
            "user": self._session.user.name if self._session.user is not None else None,
            "bucket": self._session.bucket.name if self._session.bucket is not None else None,
            "tls": self._session.door.tls,
            "session": "classic" if self._session.classic else "couchbase",
            "age": self._service.clock.uptime() - self._began,
            "commands": self._commands,
            "bytes_read": self._bytes_read,
            "buffered": self._decoder.buffered,
            "streaming": ", ".join(answer.key for answer in self.jobs()),
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
