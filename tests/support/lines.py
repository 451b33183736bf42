"""A toy protocol of lines, as a second guest: it shows that a connection and the commands know nothing of the binary one.

Requests are lines of UTF-8, ended by a newline::

    set KEY VALUE      ->  stored
    get KEY            ->  value VALUE, or none
    scan PREFIX        ->  key KEY for each, and then end
"""

from __future__ import annotations

from collections.abc import Iterator

from trio_spool._formats import prefix_end
from trio_spool.engine import Item, Outcome, Record
from trio_spool.server.commands import items, scans
from trio_spool.server.commands.errors import NotFoundError
from trio_spool.server.conversation import MAX_NAMES, READ, WRITE, Begin, CommandContext, Doing, Exchange, Host, Queued
from trio_spool.server.protocols.binary import FIRST_BYTES, BinaryGuest
from trio_spool.server.settings import ServiceError
from trio_spool.server.shared import Cause, ContinueLimits, ScanQuery

DEFAULT = b"\0"  # the id of the default collection
COMMANDS = {b"set": WRITE, b"get": READ, b"scan": READ}


def detect_lines(first: int) -> Begin | None:
    """Speak lines with clients that begin with a letter, and else what a service speaks by itself."""
    if chr(first).isalpha():
        return LineGuest
    return BinaryGuest if first in FIRST_BYTES else None


class LineGuest:
    """One client's conversation."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._exchange = LineExchange(host.shared, host.session)
        self._line = b""
        self.commands = 0
        self.cause: Cause | None = None

    @property
    def buffered(self) -> int:
        return len(self._line)

    @property
    def skipping(self) -> int:
        return 0

    @property
    def held(self) -> int:
        return len(self._line)

    def refuse_unfinished(self, why: str) -> bytes:
        return b""

    def doing(self) -> Doing:
        return Doing(tuple(self._exchange.doing()), self._exchange.waits_for, self._exchange.since)

    def queued(self, ahead: bytes) -> Queued:
        lines = ahead.split(b"\n")[:-1]
        return Queued(len(lines), tuple(line.partition(b" ")[0].decode() for line in lines[:MAX_NAMES]))

    def describe(self) -> dict[str, object]:
        return {"session": "lines"}

    async def feed(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.commands += 1
            name, _, rest = line.partition(b" ")
            rule = COMMANDS.get(name)
            if rule is None or self._host.session.refusal(rule):
                self._exchange.reply(b"refused\n")
            else:
                getattr(self, f"_{name.decode()}")(rest)
            if self._exchange.work is not None:
                await self._run_job()
            elif self._exchange.is_full:
                await self._exchange.finish(self._host.sender)
        await self._exchange.finish(self._host.sender)

    def _set(self, rest: bytes) -> None:
        key, _, value = rest.partition(b" ")
        operation = items.store(self._exchange.bucket, DEFAULT + key, value)
        self._exchange.operate("set", len(rest), operation, _encode_stored)

    def _get(self, key: bytes) -> None:
        self._exchange.read(DEFAULT + key, "get", len(key), _encode_item)

    def _scan(self, prefix: bytes) -> None:
        self._exchange.later(lambda context: _scan(context, prefix))

    async def _run_job(self) -> None:
        host, exchange = self._host, self._exchange
        work, exchange.work = exchange.work, None
        await exchange.finish(host.sender)
        host.jobs.start(LineContext(host.jobs, host.session, "line", "", alone=True), work)
        await host.jobs.wait(0, host.read_ahead)


class LineExchange(Exchange):
    """The requests that are being answered; each stands for itself by its name."""

    def name(self, request: str) -> str:
        return request


class LineContext(CommandContext):
    """What a scan is given."""

    async def refuse(self, error: ServiceError) -> None:
        await self.reply(b"refused: %s\n" % str(error).encode())

    async def fail(self) -> None:
        await self.reply(b"failed\n")


def _encode_stored(exchange: Exchange, request: str, outcome: Outcome) -> bytes:
    return b"stored\n" if outcome.problem is None else b"not stored\n"


def _encode_item(exchange: Exchange, request: str, item: Item | None) -> bytes:
    return b"none\n" if item is None else b"value %s\n" % item.value


async def _scan(context: LineContext, prefix: bytes) -> None:
    query = ScanQuery(start=prefix, end=prefix_end(prefix), keys_only=True)
    try:
        scan = await scans.create(context.shared, context.connection, context.bucket, None, query, None, context.in_worker)
    except NotFoundError:
        return await context.reply(b"end\n")
    with context.shared.scans.continuing(scan, context.connection, ContinueLimits(), _pack) as continue_:

        def lines_in_thread() -> Iterator[bytes]:
            while continue_.ending is None:
                yield from continue_.next_in_thread()

        await context.spool(lines_in_thread())
        await context.reply(b"end\n")


def _pack(records: list[Record], skip: int) -> list[bytes]:
    return [b"key %s\n" % record[0][skip:] for record in records]
