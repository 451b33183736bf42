"""TOUCH, and get-and-touch: GAT, GATK and their quiet forms."""

from __future__ import annotations

from ...engine import Outcome, Problem, Touch
from ...mcbp import LOUD, Opcode, Request, encode_get_hit
from .._exchange import Exchange
from ..commands import items
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
    return items.touch(exchange.bucket, request.key, int.from_bytes(request.extras, "big"))


def _encode_touch(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    items.count_touch(exchange.service.counters, outcome)
    return encode_mutation(exchange, request, outcome)


def _encode_get(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    counters = exchange.service.counters
    item = outcome.item
    items.count_touch(counters, outcome)
    items.count_get(counters, found=item is not None)
    if item is None:
        if outcome.problem is Problem.NOT_FOUND and request.opcode in LOUD:
            return b""
        return encode_mutation(exchange, request, outcome)
    key = exchange.session.shown_key(request.key) if request.opcode in _WITH_KEY else b""
    return encode_get_hit(request.opcode, request.opaque, item.cas, item.flags, item.value, key, datatype_of(exchange, item))
