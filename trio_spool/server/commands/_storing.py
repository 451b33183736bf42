"""SET, ADD, REPLACE, APPEND, PREPEND, and their quiet forms."""

from __future__ import annotations

import struct

from ...engine import Concat, Delete, Outcome, Problem, Store, StoreMode, is_json
from ...mcbp import LOUD, DataType, FrameInfoId, Opcode, Rejected, Request, Status
from .._exchange import Exchange
from ._expiry import expiry_for
from ._mutation import encode_mutation

_EXTRAS = struct.Struct(">LL")
_MODES: dict[int, StoreMode] = {
    Opcode.SET: StoreMode.SET,
    Opcode.SETQ: StoreMode.SET,
    Opcode.ADD: StoreMode.ADD,
    Opcode.ADDQ: StoreMode.ADD,
    Opcode.REPLACE: StoreMode.REPLACE,
    Opcode.REPLACEQ: StoreMode.REPLACE,
}
# Bytes of a value in which JSON is detected: more would keep the event loop for milliseconds.
MOST_DETECTED = 256 * 1024
_PREPENDING = frozenset({Opcode.PREPEND, Opcode.PREPENDQ})


def store(exchange: Exchange, request: Request) -> None:
    """Extras: flags u32, expiry u32. A CAS in the header is a condition."""
    flags, expiry = _EXTRAS.unpack(request.extras)
    operation = Store(
        request.key,
        request.value,
        flags,
        expiry_for(exchange, request, expiry),
        request.datatype if exchange.session.classic else _detect(request),
        _MODES[request.opcode],
        request.cas,
        bool(request.frame_infos) and any(info.id == FrameInfoId.PRESERVE_TTL for info in request.frame_infos),
    )
    exchange.operate(request, operation, _encode)


def _detect(request: Request) -> int:
    """Return the datatype of a value: what it is, not what the client says, unless it is too large to look at here."""
    if len(request.value) > MOST_DETECTED:
        return request.datatype
    return int(DataType.JSON) if is_json(request.value) else 0


def concatenate(exchange: Exchange, request: Request) -> None:
    """No extras: the item keeps its flags and its expiry."""
    limit = exchange.service.settings.max_item_size
    operation = Concat(request.key, request.value, request.opcode in _PREPENDING, limit, request.cas)
    exchange.operate(request, operation, _encode)


def _encode(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    counters = exchange.service.counters
    counters.cmd_set += 1
    if outcome.problem is None:
        counters.total_items += 1
        counters.cas_hits += request.cas != 0
    elif request.cas:
        counters.cas_misses += outcome.problem is Problem.NOT_FOUND
        counters.cas_badval += outcome.problem is Problem.EXISTS
    return encode_mutation(exchange, request, outcome)


def refuse_too_big(exchange: Exchange, rejected: Rejected) -> None:
    """Reply TOO_BIG, after deleting what a SET was to replace: nobody should read the old value for the new one."""
    request = Request(rejected.opcode, 0, 0, rejected.opaque, 0, b"", rejected.key, b"", 0)
    if LOUD.get(rejected.opcode, rejected.opcode) == Opcode.SET:
        exchange.operate(request, Delete(rejected.key), _encode_too_big)
    else:
        exchange.reply(_encode_too_big(exchange, request, Outcome()))


def _encode_too_big(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    limit = exchange.service.settings.max_item_size
    return exchange.session.error(request.opcode, request.opaque, Status.TOO_BIG, f"the limit for a value is {limit} bytes")
