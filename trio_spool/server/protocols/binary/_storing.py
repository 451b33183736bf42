"""SET, ADD, REPLACE, APPEND, PREPEND, and their quiet forms."""

from __future__ import annotations

import struct
from functools import partial
from typing import Final

from ....engine import Concat, Outcome, StoreMode
from ....mcbp import FrameInfoId, Opcode, Rejected, Request, Status, item_shape
from ...commands import documents, items, noting
from ...conversation import WRITE, Waits
from ._exchange import BinaryContext, BinaryExchange
from ._mutation import encode_mutation
from ._row import DURABLE, KEEPING, Command

_EXTRAS = struct.Struct(">LL")
_MODES: Final[dict[int, StoreMode]] = {
    Opcode.SET: StoreMode.SET,
    Opcode.ADD: StoreMode.ADD,
    Opcode.REPLACE: StoreMode.REPLACE,
}


def store(exchange: BinaryExchange, request: Request) -> None:
    """Store an item: in any case (SET), if it is new (ADD), or if it exists (REPLACE).

    Extras: flags u32, expiry u32. A CAS in the header is a condition.
    """
    flags, expiry = _EXTRAS.unpack(request.extras)
    value, large = request.value, False
    datatype = request.datatype
    if len(value) > exchange.bucket.max_value:
        _refuse_too_big(exchange, request)
        return
    mode = _MODES[exchange.loud(request)]
    if not exchange.features.classic:
        large = len(value) > documents.LARGE
        datatype = 0 if large else items.datatype_of_value(value)
    operation = items.store(
        exchange.bucket, request.key, value, mode=mode, flags=flags, expiry=expiry,
        cas=request.cas, keep_expiry=keeps_expiry(request), datatype=datatype,
    )  # fmt: skip
    if large:
        exchange.prepare(lambda: operation._replace(datatype=documents.detect_json_in_thread(value)))
    exchange.operate(request, request.size, operation, _encode)


def keeps_expiry(request: Request) -> bool:
    """Whether the item is to keep its expiry."""
    return bool(request.frame_infos) and any(info.id == FrameInfoId.PRESERVE_TTL for info in request.frame_infos)


def concatenate(exchange: BinaryExchange, request: Request) -> None:
    """Append to the value of an item, or prepend to it. The item keeps its flags and its expiry."""
    classic = exchange.features.classic
    operation = items.concatenate(
        request.key, request.value, prepend=exchange.loud(request) == Opcode.PREPEND, cas=request.cas,
        max_size=exchange.shared.settings.max_item_size, datatype=0 if classic else items.JSON, inline=documents.LARGE,
    )  # fmt: skip
    if not classic and (size := exchange.expected_size(request.key) + len(request.value)) > documents.LARGE:
        exchange.later(partial(_concatenate_large, operation=operation, size=size), changes=True)
    else:
        exchange.operate(request, request.size, operation, _encode)


async def _concatenate_large(context: BinaryContext, operation: Concat, size: int) -> None:
    with context.waiting(Waits.OTHERS):
        outcome = await documents.plan_and_operate(context.bucket, operation, context.in_worker, size, context.operate)
    reply = _encode(context.exchange, context.request, outcome)
    if reply:  # a quiet command does not answer everything
        await context.reply(reply)


def _encode(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    items.count_store(exchange.shared.counters, outcome, request.cas)
    if noting.changes_wanted(exchange.shared):
        command = exchange.table.names[request.opcode]
        expiry = int.from_bytes(request.extras[4:8], "big")
        noting.stored(exchange.shared, exchange.connection, request.key, command, outcome, expiry, len(request.value))
    return encode_mutation(exchange, request, outcome)


def refuse_too_big(exchange: BinaryExchange, rejected: Rejected) -> None:
    """Reply TOO_BIG. In a classic session, a SET deletes the old value: nobody should read it for the new one."""
    _refuse_too_big(exchange, Request(rejected.opcode, 0, 0, rejected.opaque, 0, b"", rejected.key, b"", 0))


def _refuse_too_big(exchange: BinaryExchange, request: Request) -> None:
    if exchange.features.classic and exchange.loud(request) == Opcode.SET:
        exchange.operate(request, request.size, items.delete(request.key), _encode_too_big)
    else:
        exchange.reply(_encode_too_big(exchange, request, Outcome()))


def _encode_too_big(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    limit = min(exchange.shared.settings.max_item_size, exchange.bucket.max_value)
    exchange.shared.limits.hit("max-item-size")
    return exchange.encode_error(request.opcode, request.opaque, Status.TOO_BIG, f"the limit for a value is {limit} bytes")


COMMANDS: Final = (
    Command(
        Opcode.SET, item_shape(8, stores=True), store, WRITE, quiet=Opcode.SETQ, reorderable=True, infos=KEEPING, takes_cas=True
    ),
    Command(Opcode.ADD, item_shape(8, stores=True), store, WRITE, quiet=Opcode.ADDQ, reorderable=True, infos=DURABLE),
    Command(
        Opcode.REPLACE,
        item_shape(8, stores=True),
        store,
        WRITE,
        quiet=Opcode.REPLACEQ,
        reorderable=True,
        infos=KEEPING,
        takes_cas=True,
    ),
    Command(
        Opcode.APPEND,
        item_shape(0, stores=True),
        concatenate,
        WRITE,
        quiet=Opcode.APPENDQ,
        reorderable=True,
        infos=KEEPING,
        takes_cas=True,
    ),
    Command(
        Opcode.PREPEND,
        item_shape(0, stores=True),
        concatenate,
        WRITE,
        quiet=Opcode.PREPENDQ,
        reorderable=True,
        infos=KEEPING,
        takes_cas=True,
    ),
)
