"""GET, GETK, and their quiet forms, which answer only hits."""

from __future__ import annotations

from ...engine import Get, Item, Outcome
from ...mcbp import DATATYPE_SHIFT, GET_HIT, GET_HIT_START, Opcode, Request, Status, encode_get_hit, encode_response, status_text
from .._exchange import EXCHANGE_SIZE, Exchange
from ..commands import items

_QUIET = frozenset({Opcode.GETQ, Opcode.GETKQ})
_WITH_KEY = frozenset({Opcode.GETK, Opcode.GETKQ})


def get(exchange: Exchange, request: Request) -> None:
    """Answer from memory, unless operations before this one are still to be carried out."""
    item = exchange.reader.get(request.key)
    if exchange.operations:
        exchange.operate(request, Get(request.key), _encode_outcome, returns=0 if item is None else len(item.value))
        return
    frame = _encode(exchange, request, item)
    if frame:
        exchange.replies.append(frame)
        exchange.size += len(frame)


def get_run(exchange: Exchange, gets: list[tuple[int, bytes]]) -> None:
    """Answer a run of plain GETs, given as opaques and keys, as far as the size of one exchange goes; remove those answered."""
    session = exchange.session
    room = EXCHANGE_SIZE - exchange.size
    found = exchange.reader.get_many([key for _, key in gets], max(room, 0))
    if exchange.bucket.engine.locks:
        found = [
            item and (*item[:3], items.shown_cas(exchange.bucket, key, item[3]))
            for (_, key), item in zip(gets, found, strict=False)
        ]
    replies = exchange.replies
    append = replies.append
    pack = GET_HIT.pack
    datatypes = session.datatypes
    before = len(replies)
    misses = 0
    for (opaque, _), item in zip(gets, found, strict=False):
        if item is None:
            append(session.error(Opcode.GET, opaque, Status.NOT_FOUND))
            misses += 1
        else:
            value, flags, datatype, cas = item
            start = GET_HIT_START | (datatype & datatypes) << DATATYPE_SHIFT if datatype else GET_HIT_START
            append(pack(start, 4 + len(value), opaque, cas, flags) + value)
    exchange.size += sum(map(len, replies[before:]))
    items.count_gets(exchange.service.counters, len(found) - misses, misses)
    del gets[: len(found)]


def _encode_outcome(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    return _encode(exchange, request, outcome.item)


def _encode(exchange: Exchange, request: Request, item: Item | None) -> bytes:
    opcode = request.opcode
    items.count_get(exchange.service.counters, found=item is not None)
    if item is None:
        return b"" if opcode in _QUIET else encode_miss(exchange, request)
    key = exchange.session.shown_key(request.key) if opcode in _WITH_KEY else b""
    cas = items.shown_cas(exchange.bucket, request.key, item.cas)
    return encode_get_hit(opcode, request.opaque, cas, item.flags, item.value, key, datatype_of(exchange, item))


def encode_miss(exchange: Exchange, request: Request) -> bytes:
    """Encode NOT_FOUND, with the key for those commands that return keys."""
    if request.opcode in _WITH_KEY:
        value = status_text(Status.NOT_FOUND) if exchange.session.classic else b""
        key = exchange.session.shown_key(request.key)
        return encode_response(request.opcode, Status.NOT_FOUND, request.opaque, key=key, value=value)
    return exchange.session.error(request.opcode, request.opaque, Status.NOT_FOUND)


def datatype_of(exchange: Exchange, item: Item) -> int:
    """Return the datatype bits to show: those that the session has negotiated."""
    return item.datatype & exchange.session.datatypes if item.datatype else 0
