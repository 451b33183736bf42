"""INCREMENT, DECREMENT, and their quiet forms."""

from __future__ import annotations

import struct

from ...engine import Arithmetic, Outcome, Problem
from ...mcbp import LOUD, Opcode, Request
from .._exchange import Exchange
from ._expiry import expiry_for
from ._mutation import encode_mutation

_EXTRAS = struct.Struct(">QQL")
_NUMBER = struct.Struct(">Q")
# An expiry that says: do not create the counter.
_DO_NOT_CREATE = 0xFFFFFFFF


def count(exchange: Exchange, request: Request) -> None:
    """Extras: delta u64, initial u64, expiry u32. The reply's value is the new number, u64."""
    delta, initial, expiry = _EXTRAS.unpack(request.extras)
    if LOUD.get(request.opcode, request.opcode) == Opcode.DECREMENT:
        delta = -delta
    create = expiry != _DO_NOT_CREATE
    operation = Arithmetic(request.key, delta, initial, expiry_for(exchange, request, expiry) if create else 0, create, request.cas)
    exchange.operate(request, operation, _encode)


def _encode(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    counters = exchange.service.counters
    hit = outcome.problem is not Problem.NOT_FOUND
    if LOUD.get(request.opcode, request.opcode) == Opcode.INCREMENT:
        counters.incr_hits += hit
        counters.incr_misses += not hit
    else:
        counters.decr_hits += hit
        counters.decr_misses += not hit
    value = b"" if outcome.number is None else _NUMBER.pack(outcome.number)
    return encode_mutation(exchange, request, outcome, value)
