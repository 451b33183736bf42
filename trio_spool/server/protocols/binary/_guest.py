"""The memcached binary protocol as a connection's guest: the loop that answers requests."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from ...._formats import host_of
from ....engine import StorageError
from ....mcbp import (
    MAX_FRAME,
    NEED_DATA,
    FrameInfoId,
    Magic,
    Opcode,
    Rejected,
    RemoteProtocolError,
    Request,
    RequestDecoder,
)
from ...conversation import MAX_NAMES, Doing, Host, Queued, Waits
from ...settings import EXCHANGE_SIZE, KIB, ServiceError
from ...shared import Cause
from ._exchange import BinaryContext, BinaryExchange
from ._gate import admit, is_plain
from ._reading import get_first, get_run
from ._refusing import refuse_request
from ._row import Table
from ._storing import refuse_too_big
from ._table import TABLE

FIRST_BYTES: Final = frozenset({Magic.REQUEST, Magic.FLEXIBLE_REQUEST})
# The largest frame from a client that has not logged in. Logging in takes some hundred bytes. Picked, not measured.
MAX_FRAME_BEFORE_LOGIN: Final = 16 * KIB


class BinaryGuest:
    """One client's conversation in the binary protocol.

    Args:
        host: What the connection offers.
        table: The commands.
    """

    def __init__(self, host: Host, table: Table = TABLE) -> None:
        self._host = host
        self._table = table
        self._session = host.session
        self._session.follow(table.rules)
        self._exchange = BinaryExchange(host, table)
        self._features = self._exchange.features
        self._decoder = RequestDecoder(table.shapes, max_value=host.shared.settings.max_item_size)
        self._commands = 0
        # A request that waits before it is begun, for what, and since when.
        self._awaiting: tuple[Request, Waits, float] | None = None
        self.follow_session()

    @property
    def cause(self) -> Cause | None:
        """Why the connection is to end, once what was answered has been sent; None if it goes on."""
        return self._exchange.cause

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete request it holds."""
        return self._decoder.buffered

    @property
    def skipping(self) -> int:
        """How many bytes are still to come of a request that was answered already."""
        return self._decoder.skipping

    @property
    def held(self) -> int:
        """How many bytes it holds in all: of requests, and of replies that are not queued yet."""
        return self._decoder.buffered + self._exchange.size

    @property
    def commands(self) -> int:
        """How many commands it has carried out."""
        return self._commands

    def follow_session(self) -> None:
        """Decode and answer what comes next as the session and the features are now."""
        decoder, session, features = self._decoder, self._session, self._features
        session.changed = features.changed = False
        decoder.datatypes = features.datatypes
        decoder.collections = features.collections
        decoder.gets_without_cas = not features.classic
        decoder.max_frame = MAX_FRAME if session.user is not None else MAX_FRAME_BEFORE_LOGIN
        self._exchange.follow_session()

    def refuse_unfinished(self, why: str) -> bytes:
        """Return the reply to a request that has arrived in part, since its client may not stay; nothing if none can be made."""
        return refuse_request(self._decoder.unfinished, why, self._features) or b""

    def describe(self) -> dict[str, object]:
        """Describe the conversation for the statistics."""
        return {"agent": self._features.agent, "session": "classic" if self._features.classic else "couchbase"}

    def doing(self) -> Doing:
        """Return what it does now, apart from its long commands."""
        exchange = self._exchange
        if self._awaiting is not None:
            return Doing((self._table.names[self._awaiting[0].opcode],), *self._awaiting[1:])
        return Doing(tuple(exchange.doing()), exchange.waits_for, exchange.since)

    def queued(self, ahead: bytes) -> Queued:
        """Return what has arrived and was not begun, with what the connection has read ahead."""
        count, opcodes = self._decoder.queued(ahead, MAX_NAMES)
        return Queued(count, tuple(self._table.names[opcode] for opcode in opcodes))

    async def feed(self, data: bytes) -> None:
        """Answer every request that the data completes. A frame that can't be understood ends the connection without a word.

        Raises:
            trio.BrokenResourceError: The client has gone, or does not read.
        """
        exchange, decoder, session, features = self._exchange, self._decoder, self._session, self._features
        table, jobs, sender, buffers = self._table, self._host.jobs, self._host.sender, self._host.shared.buffers
        handlers, changing = table.handlers, table.changing
        counts: dict[int, int] = {}
        in_flight = exchange.shared.settings.max_in_flight
        noted = exchange.noted if exchange.shared.slow.on else None
        decoder.receive_data(data)
        exchange.began = started = perf_counter()
        while exchange.cause is None:
            if (
                exchange.local
                and not exchange.operations
                and not buffers.tight
                and not session.allowed[Opcode.GET]
                and (gets := decoder.next_gets())
            ):
                counts[Opcode.GET] = counts.get(Opcode.GET, 0) + len(gets)
                if noted is not None:
                    noted.append((Opcode.GET, gets[:]))
                while gets:
                    try:
                        get_run(exchange, gets)
                    except Exception:
                        get_first(exchange, gets)
                    if exchange.size > EXCHANGE_SIZE or gets:
                        await exchange.finish(sender)
                        while gets and buffers.tight:
                            await self._answer_carefully(gets)
            try:
                event = decoder.next_event()
            except RemoteProtocolError as exc:
                self._report_bad(str(exc))
                exchange.close(Cause.BAD_BYTES)
                break
            if event is NEED_DATA:
                break
            if isinstance(event, Rejected):
                self._reject(event)
                counts[event.opcode] = counts.get(event.opcode, 0) + 1
            else:
                opcode = event.opcode
                if exchange.replies and opcode in changing:
                    await exchange.finish(sender)
                if jobs.running and self._is_barrier(event):
                    await exchange.finish(sender)
                    self._awaiting = event, Waits.COMMANDS, perf_counter()
                    await jobs.wait(0, self._host.read_ahead)
                    self._awaiting = None
                    exchange.go_on()
                if buffers.tight:
                    await self._wait_room(event)
                request: Request | None = event
                replies, operations = len(exchange.replies), len(exchange.operations)
                try:
                    if session.allowed[opcode] or not is_plain(event):
                        request = admit(exchange, event)
                    if request is not None:
                        handlers[opcode](exchange, request)
                except (ServiceError, RemoteProtocolError) as exc:
                    exchange.refuse(event, exc)
                except StorageError as exc:
                    exchange.undo(replies, operations)
                    exchange.fail(event, exc)
                except Exception:
                    exchange.undo(replies, operations)
                    exchange.reply(exchange.failure(event))
                if exchange.work is not None and request is not None:
                    await self._start_job(request)
                else:
                    if noted is not None:
                        noted.append((opcode, event.key))
                    counts[opcode] = counts.get(opcode, 0) + 1
            if exchange.size > EXCHANGE_SIZE or len(exchange.replies) >= in_flight:  # `is_full`, without a call for each request
                await exchange.finish(sender)
            if session.changed or features.changed:
                self.follow_session()
        await exchange.finish(sender)
        seconds = perf_counter() - started
        try:
            await sender.offered()  # before anything that the client need not wait for
        finally:
            timings, names = self._host.shared.timings, table.names
            for opcode, count in counts.items():
                self._commands += count
                timings.record(names[opcode], seconds, count)

    async def _wait_room(self, request: Request) -> None:
        """Wait until there is room for a request, if need be after answering those before it: see `Buffers`."""
        exchange, shape = self._exchange, self._table.shapes[request.opcode]
        size = request.size
        if shape is not None and shape.collection and not self._session.allowed[request.opcode]:
            size += exchange.expected_size(request.key, tombstones=True)
        buffers = exchange.shared.buffers
        if not buffers.has_room(exchange.size + size):
            await exchange.finish(self._host.sender)
            self._awaiting = request, Waits.ROOM, perf_counter()
            await buffers.wait_room(self._host.jobs.connection, size)
            self._awaiting = None

    async def _answer_carefully(self, gets: list[tuple[int, bytes]]) -> None:
        """Answer the first GET of a run once there is room for it, and remove it."""
        exchange, get = self._exchange, gets.pop(0)
        await exchange.shared.buffers.wait_room(self._host.jobs.connection, exchange.expected_size(get[1]))
        get_run(exchange, [get])
        await exchange.finish(self._host.sender)

    def _report_bad(self, reason: str) -> None:
        """Report bytes after which the next request can't be found."""
        shared, peer = self._host.shared, self._session.peer
        shared.counters.bad_requests += 1
        shared.incidents.report("bytes that are no request", place=host_of(peer), peer=peer, reason=reason)

    def _is_barrier(self, request: Request) -> bool:
        """Whether a request is answered after everything before it, and before everything after it."""
        return not self._table.reorderable[request.opcode] or any(info.id == FrameInfoId.BARRIER for info in request.frame_infos)

    async def _start_job(self, request: Request) -> None:
        """Start a long command once everything is done that it might depend on; wait for it if what follows might depend on it."""
        host, exchange = self._host, self._exchange
        work, exchange.work = exchange.work, None
        assert work is not None
        await exchange.finish(host.sender)
        self._awaiting = request, Waits.COMMANDS, perf_counter()
        alone = not self._features.unordered or (request.opcode in self._table.whole and host.shared.throttle.on)
        await host.jobs.wait(0 if alone else host.shared.settings.max_jobs - 1, host.read_ahead)
        self._commands += 1
        self._awaiting = None
        context = BinaryContext(host, exchange, request, alone=alone)
        host.jobs.start(context, work)
        if alone or self._is_barrier(request):
            await host.jobs.wait(0, host.read_ahead)
        elif exchange.changes:
            await host.jobs.wait_for(context, host.read_ahead)
        exchange.go_on()

    def _reject(self, rejected: Rejected) -> None:
        exchange, features = self._exchange, self._features
        if rejected.lost:
            self._report_bad(rejected.reason)
        else:
            exchange.shared.counters.bad_requests += 1
        if rejected.too_big and not self._session.allowed[rejected.opcode]:
            refuse_too_big(exchange, rejected)
            return
        exchange.reply(exchange.encode_error(rejected.opcode, rejected.opaque, rejected.status, rejected.reason))
        if rejected.lost or (rejected.fatal and features.classic):
            exchange.close(Cause.BAD_BYTES if rejected.lost else Cause.BAD_REQUEST)
