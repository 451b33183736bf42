"""GET_LOCKED and UNLOCK_KEY."""

from __future__ import annotations

from ...engine import Lock, Outcome, Unlock
from ...mcbp import Request, Status, encode_get_hit
from .._exchange import Exchange
from ._mutation import encode_mutation
from ._reading import datatype_of

# Seconds for which an item is locked if the client does not say, or asks for more than the most.
DEFAULT_LOCK = 15
LONGEST_LOCK = 30


def get_locked(exchange: Exchange, request: Request) -> None:
    """Extras: seconds u32, or nothing. The reply is that of a get, with the CAS that unlocks the item."""
    seconds = int.from_bytes(request.extras, "big")
    if not 0 < seconds <= LONGEST_LOCK:
        seconds = DEFAULT_LOCK
    item = exchange.get(request.key)
    exchange.operate(request, Lock(request.key, seconds), _encode_locked, returns=0 if item is None else len(item.value))


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
