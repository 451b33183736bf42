"""SET, ADD, REPLACE, APPEND, PREPEND, and their quiet forms."""

from __future__ import annotations

import struct

from ...engine import Delete, Outcome, StoreMode
from ...mcbp import LOUD, FrameInfoId, Opcode, Rejected, Request, Status
from .._exchange import Exchange
from ..commands import items
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
_PREPENDING = frozenset({Opcode.PREPEND, Opcode.PREPENDQ})


def store(exchange: Exchange, request: Request) -> None:
    """Extras: flags u32, expiry u32. A CAS in the header is a condition."""
    flags, expiry = _EXTRAS.unpack(request.extras)
    datatype = request.datatype if exchange.session.classic else items.datatype_of_value(request.value, request.datatype)
    operation = items.store(
        exchange.bucket, request.key, request.value, mode=_MODES[request.opcode], flags=flags, expiry=expiry, cas=request.cas,
        keep_expiry=keeps_expiry(request), datatype=datatype,
    )  # fmt: skip
    exchange.operate(request, operation, _encode)


def keeps_expiry(request: Request) -> bool:
    """Whether the item is to keep the expiry that it has."""
    return bool(request.frame_infos) and any(info.id == FrameInfoId.PRESERVE_TTL for info in request.frame_infos)


def concatenate(exchange: Exchange, request: Request) -> None:
    """No extras: the item keeps its flags and its expiry."""
    limit = exchange.service.settings.max_item_size
    prepend = request.opcode in _PREPENDING
    operation = items.concatenate(request.key, request.value, prepend=prepend, cas=request.cas, max_size=limit)
    exchange.operate(request, operation, _encode)


def _encode(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    items.count_store(exchange.service.counters, outcome, request.cas)
    return encode_mutation(exchange, request, outcome)


def refuse_too_big(exchange: Exchange, rejected: Rejected) -> None:
    """Reply TOO_BIG. In a classic session, what a SET was to replace is deleted: nobody should read it for the new value."""
    request = Request(rejected.opcode, 0, 0, rejected.opaque, 0, b"", rejected.key, b"", 0)
    if exchange.session.classic and LOUD.get(rejected.opcode, rejected.opcode) == Opcode.SET:
        exchange.operate(request, Delete(rejected.key), _encode_too_big)
    else:
        exchange.reply(_encode_too_big(exchange, request, Outcome()))


def _encode_too_big(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    limit = exchange.service.settings.max_item_size
    return exchange.session.error(request.opcode, request.opaque, Status.TOO_BIG, f"the limit for a value is {limit} bytes")
