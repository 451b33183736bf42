"""INCREMENT, DECREMENT, and their quiet forms."""

from __future__ import annotations

import struct
from typing import Final

from ....engine import Outcome
from ....mcbp import Opcode, Request, item_shape
from ...commands import items
from ...conversation import READ_AND_WRITE
from ._exchange import BinaryExchange
from ._mutation import encode_mutation
from ._row import KEEPING, Command

_EXTRAS = struct.Struct(">QQL")
_NUMBER = struct.Struct(">Q")
# An expiry that says: do not create the counter.
_DO_NOT_CREATE = 0xFFFFFFFF


def count(exchange: BinaryExchange, request: Request) -> None:
    """Add to a number, or subtract from it.

    Extras: delta u64, initial u64, expiry u32. The reply's value is the new number, u64.
    """
    delta, initial, expiry = _EXTRAS.unpack(request.extras)
    operation = items.count(
        exchange.bucket, request.key, -delta if _decrements(exchange, request) else delta, initial=initial,
        expiry=None if expiry == _DO_NOT_CREATE else expiry, cas=request.cas,
        datatype=0 if exchange.features.classic else items.JSON,
    )  # fmt: skip
    exchange.operate(request, request.size, operation, _encode)


def _decrements(exchange: BinaryExchange, request: Request) -> bool:
    return exchange.loud(request) == Opcode.DECREMENT


def _encode(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    items.count_arithmetic(exchange.shared.counters, outcome, decrement=_decrements(exchange, request))
    value = b"" if outcome.number is None else _NUMBER.pack(outcome.number)
    return encode_mutation(exchange, request, outcome, value)


COMMANDS: Final = (
    Command(Opcode.INCREMENT, item_shape(20), count, READ_AND_WRITE, quiet=Opcode.INCREMENTQ, reorderable=True, infos=KEEPING),
    Command(Opcode.DECREMENT, item_shape(20), count, READ_AND_WRITE, quiet=Opcode.DECREMENTQ, reorderable=True, infos=KEEPING),
)
