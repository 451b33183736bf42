"""GET, GETK, and their quiet forms, which answer only hits."""

from __future__ import annotations

from typing import Final

from ....engine import Get, Item, Outcome, Problem, StorageError
from ....mcbp import (
    DATATYPE_SHIFT,
    GET_HIT,
    GET_HIT_START,
    Opcode,
    Request,
    Status,
    encode_get_hit,
    encode_response,
    item_shape,
)
from ...commands import items, noting
from ...conversation import READ
from ...settings import EXCHANGE_SIZE
from ._exchange import BinaryExchange
from ._problems import status_of_failure
from ._row import Command


def get(exchange: BinaryExchange, request: Request) -> None:
    """Return an item. The quiet form replies only if there is one."""
    if not exchange.local:
        exchange.read(request.key, request, request.size, _encode)
        return
    if exchange.operations:
        exchange.operate(request, request.size + exchange.expected_size(request.key), Get(request.key), _encode_outcome)
        return
    frame = _encode(exchange, request, exchange.reader.get(request.key))
    if frame:
        exchange.replies.append(frame)
        exchange.size += len(frame)


def get_run(exchange: BinaryExchange, gets: list[tuple[int, bytes]]) -> None:
    """Answer a run of plain GETs, given as opaques and keys, as far as one exchange goes; remove those that are answered."""
    features = exchange.features
    room = EXCHANGE_SIZE - exchange.size
    most = max(exchange.shared.settings.max_in_flight - len(exchange.replies), 1)
    try:
        found = exchange.reader.get_many([key for _, key in (gets if len(gets) <= most else gets[:most])], max(room, 0))
    except StorageError as exc:  # of the first one: the others may be read
        opaque, _ = gets.pop(0)
        exchange.reply(exchange.encode_error(Opcode.GET, opaque, status_of_failure(exc)))
        return
    if exchange.bucket.engine.locks:
        found = [
            item and (*item[:3], items.shown_cas(exchange.bucket, key, item[3]))
            for (_, key), item in zip(gets, found, strict=False)
        ]
    replies = exchange.replies
    append = replies.append
    pack = GET_HIT.pack
    datatypes = features.datatypes
    before = len(replies)
    misses = 0
    for (opaque, _), item in zip(gets, found, strict=False):
        if item is None:
            append(features.error(Opcode.GET, opaque, Status.NOT_FOUND))
            misses += 1
        else:
            value, flags, datatype, cas = item
            start = GET_HIT_START | (datatype & datatypes) << DATATYPE_SHIFT if datatype else GET_HIT_START
            append(pack(start, 4 + len(value), opaque, cas, flags) + value)
    exchange.size += sum(map(len, replies[before:]))
    items.count_gets(exchange.shared.counters, len(found) - misses, misses)
    if misses:
        exchange.count_failure(Opcode.GET, Status.NOT_FOUND, misses)
    if noting.reads_wanted(exchange.shared, exchange.bucket):
        for (_, key), item in zip(gets, found, strict=False):
            noting.read(exchange.shared, exchange.bucket, exchange.connection, key, item and (len(item[0]), item[3]))
    del gets[: len(found)]


def get_first(exchange: BinaryExchange, gets: list[tuple[int, bytes]]) -> None:
    """Answer the first of a run of plain GETs that failed as a whole, and remove it. An error costs only that one."""
    opaque, key = gets.pop(0)
    request = Request(Opcode.GET, 0, 0, opaque, 0, b"", key, b"", 0)
    try:
        reply = _encode(exchange, request, exchange.reader.get(key))
    except Exception:
        reply = exchange.failure(request)
    exchange.reply(reply)


def _encode_outcome(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    if outcome.problem not in (None, Problem.NOT_FOUND):
        return exchange.encode_failure(request, outcome.problem)
    return _encode(exchange, request, outcome.item)


def _encode(exchange: BinaryExchange, request: Request, item: Item | None) -> bytes:
    opcode = request.opcode
    items.count_get(exchange.shared.counters, found=item is not None)
    if noting.reads_wanted(exchange.shared, exchange.bucket):
        seen = None if item is None else (len(item.value), item.cas)
        noting.read(exchange.shared, exchange.bucket, exchange.connection, request.key, seen)
    if item is None:
        if opcode in exchange.table.loud:
            exchange.count_failure(opcode, Status.NOT_FOUND)
            return b""
        return encode_miss(exchange, request)
    key = exchange.features.shown_key(request.key) if exchange.loud(request) == Opcode.GETK else b""
    cas = items.shown_cas(exchange.bucket, request.key, item.cas)
    return encode_get_hit(opcode, request.opaque, cas, item.flags, item.value, key, datatype_of(exchange, item))


def encode_miss(exchange: BinaryExchange, request: Request) -> bytes:
    """Encode NOT_FOUND: with the key, and then without a text, for those commands that return keys."""
    if exchange.loud(request) in (Opcode.GETK, Opcode.GATK):
        exchange.count_failure(request.opcode, Status.NOT_FOUND)
        key = exchange.features.shown_key(request.key)
        return encode_response(request.opcode, Status.NOT_FOUND, request.opaque, key=key)
    return exchange.encode_error(request.opcode, request.opaque, Status.NOT_FOUND)


def datatype_of(exchange: BinaryExchange, item: Item) -> int:
    """Return the datatype bits to show: those that the client has negotiated."""
    return item.datatype & exchange.features.datatypes if item.datatype else 0


COMMANDS: Final = (
    Command(Opcode.GET, item_shape(0), get, READ, quiet=Opcode.GETQ, reorderable=True),
    Command(Opcode.GETK, item_shape(0), get, READ, quiet=Opcode.GETKQ, reorderable=True),
)
