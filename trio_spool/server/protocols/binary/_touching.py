"""TOUCH, and get-and-touch: GAT, GATK and their quiet forms."""

from __future__ import annotations

from typing import Final

from ....engine import Outcome, Problem, Touch
from ....mcbp import Opcode, Request, encode_get_hit, item_shape
from ...commands import items
from ...conversation import READ_AND_WRITE, WRITE
from ._exchange import BinaryExchange
from ._mutation import encode_mutation
from ._reading import datatype_of, encode_miss
from ._row import DURABLE, Command


def touch(exchange: BinaryExchange, request: Request) -> None:
    """Change the expiry of an item.

    Extras: expiry u32.
    """
    exchange.operate(request, request.size, _operation(exchange, request), _encode_touch)


def get_and_touch(exchange: BinaryExchange, request: Request) -> None:
    """Return an item, and change its expiry.

    Extras: expiry u32. The reply is that of a get.
    """
    size = request.size + exchange.expected_size(request.key)
    exchange.operate(request, size, _operation(exchange, request), _encode_get)


def _operation(exchange: BinaryExchange, request: Request) -> Touch:
    return items.touch(exchange.bucket, request.key, int.from_bytes(request.extras, "big"))


def _encode_touch(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    items.count_touch(exchange.shared.counters, outcome)
    return encode_mutation(exchange, request, outcome)


def _encode_get(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    counters = exchange.shared.counters
    item = outcome.item
    items.count_touch(counters, outcome)
    items.count_get(counters, found=item is not None)
    if item is None:
        if outcome.problem is Problem.NOT_FOUND:
            return b"" if exchange.is_quiet(request) else encode_miss(exchange, request)
        return encode_mutation(exchange, request, outcome)
    key = exchange.features.shown_key(request.key) if exchange.loud(request) == Opcode.GATK else b""
    return encode_get_hit(request.opcode, request.opaque, item.cas, item.flags, item.value, key, datatype_of(exchange, item))


COMMANDS: Final = (
    Command(Opcode.TOUCH, item_shape(4), touch, WRITE, reorderable=True, infos=DURABLE),
    Command(Opcode.GAT, item_shape(4), get_and_touch, READ_AND_WRITE, quiet=Opcode.GATQ, reorderable=True, infos=DURABLE),
    Command(Opcode.GATK, item_shape(4), get_and_touch, READ_AND_WRITE, quiet=Opcode.GATKQ, reorderable=True, infos=DURABLE),
)
