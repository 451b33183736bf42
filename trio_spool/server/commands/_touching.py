"""TOUCH, and get-and-touch: GAT, GATK and their quiet forms."""

from __future__ import annotations

from ...engine import Outcome, Problem, Touch
from ...mcbp import LOUD, Opcode, Request, encode_get_hit
from .._exchange import Exchange
from ._expiry import expiry_for
from ._mutation import encode_mutation
from ._reading import datatype_of

_WITH_KEY = frozenset({Opcode.GATK, Opcode.GATKQ})


def touch(exchange: Exchange, request: Request) -> None:
    """Extras: expiry u32."""
    exchange.operate(request, _operation(exchange, request), _encode_touch)


def get_and_touch(exchange: Exchange, request: Request) -> None:
    """Extras: expiry u32. The reply is that of a get."""
    item = exchange.get(request.key)
    exchange.operate(request, _operation(exchange, request), _encode_get, returns=0 if item is None else len(item.value))


def _operation(exchange: Exchange, request: Request) -> Touch:
    return Touch(request.key, expiry_for(exchange, request, int.from_bytes(request.extras, "big")))


def _count(exchange: Exchange, outcome: Outcome) -> None:
    counters = exchange.service.counters
    counters.cmd_touch += 1
    counters.touch_hits += outcome.problem is None
    counters.touch_misses += outcome.problem is not None


def _encode_touch(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    _count(exchange, outcome)
    return encode_mutation(exchange, request, outcome)


def _encode_get(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    _count(exchange, outcome)
    counters = exchange.service.counters
    counters.cmd_get += 1
    item = outcome.item
    if item is None:
        counters.get_misses += 1
        if outcome.problem is Problem.NOT_FOUND and request.opcode in LOUD:
            return b""
        return encode_mutation(exchange, request, outcome)
    counters.get_hits += 1
    key = exchange.session.shown_key(request.key) if request.opcode in _WITH_KEY else b""
    return encode_get_hit(request.opcode, request.opaque, item.cas, item.flags, item.value, key, datatype_of(exchange, item))
