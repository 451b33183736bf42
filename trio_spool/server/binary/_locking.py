"""GET_LOCKED and UNLOCK_KEY."""

from __future__ import annotations

from ...engine import Outcome, Unlock
from ...mcbp import Request, Status, encode_get_hit
from .._exchange import Exchange
from ..commands import items
from ._mutation import encode_mutation
from ._reading import datatype_of


def get_locked(exchange: Exchange, request: Request) -> None:
    """Extras: seconds u32, or nothing. The reply is that of a get, with the CAS that unlocks the item."""
    operation = items.lock(request.key, int.from_bytes(request.extras, "big"))
    item = exchange.get(request.key)
    exchange.operate(request, operation, _encode_locked, returns=0 if item is None else len(item.value))


def _encode_locked(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    item = outcome.item
    if item is None:
        return encode_mutation(exchange, request, outcome)
    return encode_get_hit(request.opcode, request.opaque, item.cas, item.flags, item.value, datatype=datatype_of(exchange, item))


def unlock(exchange: Exchange, request: Request) -> None:
    """The CAS in the header must be the one that locked the item."""
    if not request.cas:
        exchange.error(request, Status.INVALID, "unlocking takes the CAS that GET_LOCKED returned")
        return
    exchange.operate(request, Unlock(request.key, request.cas), _encode_unlocked)


def _encode_unlocked(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    return encode_mutation(exchange, request, outcome, cas=0)
