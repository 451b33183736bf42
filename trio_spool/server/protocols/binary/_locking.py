"""GET_LOCKED and UNLOCK_KEY."""

from __future__ import annotations

from typing import Final

from ....engine import Outcome
from ....mcbp import Opcode, Request, encode_get_hit, item_shape
from ...commands import items
from ...conversation import READ_AND_WRITE, WRITE
from ._exchange import BinaryExchange
from ._mutation import encode_mutation
from ._reading import datatype_of
from ._row import Command


def get_locked(exchange: BinaryExchange, request: Request) -> None:
    """Return an item, and lock it.

    Extras: seconds u32, or nothing. The reply is that of a get, with the CAS that unlocks the item.
    """
    operation = items.lock(request.key, int.from_bytes(request.extras, "big"))
    exchange.operate(request, request.size + exchange.expected_size(request.key), operation, _encode_locked)


def _encode_locked(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    item = outcome.item
    if item is None:
        return encode_mutation(exchange, request, outcome)
    return encode_get_hit(request.opcode, request.opaque, item.cas, item.flags, item.value, datatype=datatype_of(exchange, item))


def unlock(exchange: BinaryExchange, request: Request) -> None:
    """Unlock an item. The CAS in the header must be the one that locked it."""
    exchange.operate(request, request.size, items.unlock(request.key, request.cas), _encode_unlocked)


def _encode_unlocked(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    return encode_mutation(exchange, request, outcome, cas=0)


COMMANDS: Final = (
    Command(Opcode.GET_LOCKED, item_shape(0, 4), get_locked, READ_AND_WRITE, reorderable=True),
    Command(Opcode.UNLOCK_KEY, item_shape(0), unlock, WRITE, reorderable=True, takes_cas=True),
)
