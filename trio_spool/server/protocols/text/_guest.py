"""memcached's text protocol as a connection's guest: the loop that answers requests."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from ...._formats import host_of
from ....engine import StorageError
from ....mctext import (
    MAX_KEYS_LINE,
    MAX_LINE,
    NEED_DATA,
    NOREPLY,
    Rejected,
    RemoteProtocolError,
    Request,
    RequestDecoder,
    encode_line,
)
from ...conversation import MAX_NAMES, Doing, Host, Queued, Refusal, Waits
from ...settings import EXCHANGE_SIZE, ServiceError
from ...shared import Cause
from ._exchange import UNKNOWN, TextContext, TextExchange
from ._login import MAX_BLOCK, UNAUTHENTICATED, log_in
from ._problems import no_access, status_of_error
from ._row import Command, Table
from ._runs import answer_run
from ._storing import refuse_too_big
from ._table import TABLE

# What memcached hangs up on: requests of HTTP, which a browser can be made to send.
_HTTP: Final = b"HTTP/"


class TextGuest:
    """One client's conversation in the text protocol.

    Args:
        host: What the connection offers.
        table: The commands.
    """

    def __init__(self, host: Host, table: Table = TABLE) -> None:
        self._host = host
        self._table = table
        self._session = host.session
        self._session.follow(table.rules)
        self._exchange = TextExchange(host, table)
        self._decoder = RequestDecoder(host.shared.settings.max_item_size)
        self._get = table.rows[b"get"][0]
        self._commands = 0
        # The command of a request that waits before it is begun, or before it goes on; for what, and since when.
        self._awaiting: tuple[bytes, Waits, float] | None = None
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
        return self._decoder.buffered + self._exchange.size + self._exchange.left

    @property
    def commands(self) -> int:
        """How many commands it has carried out."""
        return self._commands

    def follow_session(self) -> None:
        """Decode and answer what comes next as the session is now."""
        session, decoder = self._session, self._decoder
        session.changed = False
        logged_in = session.user is not None
        decoder.login = not logged_in
        decoder.max_value = self._host.shared.settings.max_item_size if logged_in else MAX_BLOCK
        decoder.max_keys_line = MAX_KEYS_LINE if logged_in else MAX_LINE
        self._exchange.follow_session()

    def refuse_unfinished(self, why: str) -> bytes:
        """Return the reply to a request that has arrived in part, since its client may not stay."""
        return encode_line(b"SERVER_ERROR", why.encode()) if self._decoder.buffered else b""

    def describe(self) -> dict[str, object]:
        """Describe the conversation for the statistics."""
        return {"session": "text"}

    def doing(self) -> Doing:
        """Return what it does now, apart from its long commands."""
        exchange = self._exchange
        if self._awaiting is not None:
            return Doing((self._name(self._awaiting[0]),), *self._awaiting[1:])
        return Doing(tuple(exchange.doing()), exchange.waits_for, exchange.since)

    def queued(self, ahead: bytes) -> Queued:
        """Return what has arrived and was not begun, with what the connection has read ahead."""
        number, commands = self._decoder.queued(ahead, MAX_NAMES)
        return Queued(number, tuple(map(self._name, commands)))

    def _name(self, command: bytes) -> str:
        found = self._table.rows.get(command)
        return "unknown" if found is None else found[1].name

    async def feed(self, data: bytes) -> None:
        """Answer every request that the data completes.

        Raises:
            trio.BrokenResourceError: The client has gone, or does not read.
        """
        exchange, decoder, session = self._exchange, self._decoder, self._session
        sender, buffers, rows = self._host.sender, self._host.shared.buffers, self._table.rows
        counts: dict[str, int] = {}
        in_flight = exchange.shared.settings.max_in_flight
        decoder.receive_data(data)
        exchange.began = started = perf_counter()
        while exchange.cause is None:
            if (
                exchange.local
                and not exchange.operations
                and not buffers.tight
                and not session.allowed[self._get]
                and (run := decoder.next_run())
            ):
                name = exchange.command = "mg" if run.meta is not None else "gets" if run.cas else "get"
                counts[name] = counts.get(name, 0) + len(run.keys)
                if exchange.shared.slow.on:
                    exchange.noted.append((name.encode(), run.keys[:]))
                answer_run(exchange, run)
            else:
                event = decoder.next_event()
                if event is NEED_DATA:
                    break
                if isinstance(event, Rejected):
                    self._reject(event)
                    counts[exchange.command] = counts.get(exchange.command, 0) + 1
                else:
                    if buffers.tight:
                        await self._wait_room(event)
                    found = rows.get(event.command)
                    if found is not None and found[1].waits and exchange.replies:
                        await exchange.finish(sender)
                    name = exchange.command = UNKNOWN if found is None else found[1].name
                    self._answer(event, found)
                    if exchange.work is not None:
                        await self._run_job(event)
                    else:
                        counts[name] = counts.get(name, 0) + 1
                        if exchange.shared.slow.on:
                            exchange.noted.append((event.command, b"" if found is None else _key_of(event)))
            while exchange.rest is not None:
                await self._go_on()
            if exchange.size > EXCHANGE_SIZE or len(exchange.replies) >= in_flight:
                await exchange.finish(sender)
            if session.changed:
                self.follow_session()
        await exchange.finish(sender)
        seconds = perf_counter() - started
        try:
            await sender.offered()  # before anything that the client need not wait for
        finally:
            timings = self._host.shared.timings
            for name, count in counts.items():
                self._commands += count
                timings.record(name, seconds, count)

    def _answer(self, request: Request, found: tuple[int, Command] | None) -> None:
        """Answer one request, whose row has been found."""
        exchange, session = self._exchange, self._session
        replies, operations = len(exchange.replies), len(exchange.operations)
        try:
            if session.user is None:
                self._answer_stranger(request)
            elif found is None:
                self._answer_unknown(request)
            elif session.allowed[found[0]]:
                self._refuse(request, found[1], session.allowed[found[0]])
            else:
                found[1].run(exchange, request)
        except (ServiceError, RemoteProtocolError) as exc:
            exchange.undo(replies, operations)
            exchange.count_failure(status_of_error(exc))
            if not self._is_quiet(request, found) or str(exc) == "ERROR":
                exchange.error(exc)
        except StorageError as exc:
            exchange.undo(replies, operations)
            exchange.fail(exc)
        except Exception:
            exchange.undo(replies, operations)
            exchange.reply(exchange.failure(request))

    @staticmethod
    def _is_quiet(request: Request, found: tuple[int, Command] | None) -> bool:
        """Whether nothing is replied to a request, also if it is in error."""
        if request.line is not None:
            return request.line.noreply and request.line.meta is None
        return found is not None and found[1].noreply and request.arguments[-1:] == [NOREPLY]

    def _answer_stranger(self, request: Request) -> None:
        """Answer a client that has to log in first."""
        if request.command == b"set":
            log_in(self._exchange, request)
        elif request.command == b"quit":
            self._exchange.close(Cause.QUIT)
        else:
            self._exchange.count_failure("auth_error")
            self._exchange.reply(UNAUTHENTICATED)

    def _answer_unknown(self, request: Request) -> None:
        exchange = self._exchange
        exchange.shared.counters.bad_requests += 1
        exchange.count_failure("unknown_command")
        if request.arguments and request.arguments[-1].startswith(_HTTP):
            exchange.close(Cause.UNKNOWN_PROTOCOL)
        else:
            exchange.reply(b"ERROR\r\n")

    def _refuse(self, request: Request, command: Command, refusal: int) -> None:
        user = self._session.user
        self._exchange.count_failure("no_bucket" if refusal == Refusal.BUCKET else "no_access")
        if refusal == Refusal.BUCKET:
            self._exchange.reply(b"CLIENT_ERROR there is no default bucket that you may use\r\n")
        else:
            self._exchange.reply(no_access("" if user is None else user.name, command.who.roles))

    async def _go_on(self) -> None:
        """Send what there is of an answer that is larger than an exchange, and go on with it."""
        exchange = self._exchange
        await exchange.finish(self._host.sender)
        buffers = exchange.shared.buffers
        if buffers.tight:
            size = exchange.shared.settings.max_item_size
            self._awaiting = b"get", Waits.ROOM, perf_counter()
            await buffers.wait_room(self._host.jobs.connection, size)
            self._awaiting = None
        rest, exchange.rest, exchange.left = exchange.rest, None, 0
        if rest is not None:
            try:
                rest()
            except StorageError as exc:
                exchange.fail(exc)

    async def _wait_room(self, request: Request) -> None:
        """Wait until there is room for a request, if need be after answering those before it: see `Buffers`."""
        exchange, buffers = self._exchange, self._exchange.shared.buffers
        size = request.size
        if request.line is None and request.arguments:
            size += exchange.expected_size(b"\0" + request.arguments[0]) if self._session.user is not None else 0
        if not buffers.has_room(exchange.size + size):
            await exchange.finish(self._host.sender)
            self._awaiting = request.command, Waits.ROOM, perf_counter()
            await buffers.wait_room(self._host.jobs.connection, size)
            self._awaiting = None

    async def _run_job(self, request: Request) -> None:
        """Run a long command once everything before it is done, and wait for it."""
        host, exchange = self._host, self._exchange
        work, exchange.work = exchange.work, None
        assert work is not None
        await exchange.finish(host.sender)
        self._commands += 1
        host.jobs.start(TextContext(host, exchange, request), work)
        await host.jobs.wait(0, host.read_ahead)
        exchange.go_on()

    def _reject(self, rejected: Rejected) -> None:
        exchange = self._exchange
        exchange.shared.counters.bad_requests += 1
        found = self._table.rows.get(rejected.command)
        exchange.command = UNKNOWN if found is None else found[1].name
        if rejected.line is None or self._session.user is None:
            exchange.count_failure("invalid" if self._session.user is not None else "auth_error")
        if self._session.user is None and rejected.reply:
            exchange.reply(UNAUTHENTICATED)
        elif rejected.line is not None:
            refuse_too_big(exchange, rejected)
        elif rejected.reply:
            exchange.reply(encode_line(rejected.reply))
        if rejected.closing:
            self._report_bad(rejected.reply.decode())
            exchange.close(Cause.BAD_BYTES)

    def _report_bad(self, reason: str) -> None:
        peer = self._session.peer
        self._host.shared.incidents.report("bytes that are no request", place=host_of(peer), peer=peer, reason=reason)


def _key_of(request: Request) -> bytes:
    if request.line is not None:
        return request.line.key
    return request.arguments[0] if request.arguments else b""
