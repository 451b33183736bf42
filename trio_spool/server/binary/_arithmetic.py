"""INCREMENT, DECREMENT, and their quiet forms."""

from __future__ import annotations

import struct

from ...engine import Outcome
from ...mcbp import LOUD, Opcode, Request
from .._exchange import Exchange
from ..commands import items
from ._mutation import encode_mutation

_EXTRAS = struct.Struct(">QQL")
_NUMBER = struct.Struct(">Q")
# An expiry that says: do not create the counter.
_DO_NOT_CREATE = 0xFFFFFFFF


def _decrements(request: Request) -> bool:
    return LOUD.get(request.opcode, request.opcode) == Opcode.DECREMENT


def count(exchange: Exchange, request: Request) -> None:
    """Extras: delta u64, initial u64, expiry u32. The reply's value is the new number, u64."""
    delta, initial, expiry = _EXTRAS.unpack(request.extras)
    operation = items.count(
        exchange.bucket, request.key, -delta if _decrements(request) else delta, initial=initial,
        expiry=None if expiry == _DO_NOT_CREATE else expiry, cas=request.cas,
    )  # fmt: skip
    exchange.operate(request, operation, _encode)


def _encode(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    items.count_arithmetic(exchange.service.counters, outcome, decrement=_decrements(request))
    value = b"" if outcome.number is None else _NUMBER.pack(outcome.number)
    return encode_mutation(exchange, request, outcome, value)
