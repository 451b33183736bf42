"""DELETE, FLUSH, and their quiet forms."""

from __future__ import annotations

from typing import Final

from ....engine import Outcome
from ....mcbp import Opcode, Request, item_shape, shape
from ...commands import items, noting
from ...commands.errors import NotSupportedError
from ...conversation import ADMIN_OF_BUCKET, WRITE
from ._exchange import BinaryExchange
from ._mutation import encode_mutation
from ._row import DURABLE, Command


def delete(exchange: BinaryExchange, request: Request) -> None:
    """Delete an item. A CAS in the header is a condition."""
    exchange.operate(request, request.size, items.delete(request.key, request.cas), _encode_delete)


def _encode_delete(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    items.count_delete(exchange.shared.counters, outcome)
    if noting.changes_wanted(exchange.shared):
        noting.deleted(exchange.shared, exchange.connection, request.key, "delete", outcome)
    return encode_mutation(exchange, request, outcome, cas=exchange.features.cas_of_delete(outcome.cas))


def flush(exchange: BinaryExchange, request: Request) -> None:
    """Empty the bucket, now or later.

    Extras: nothing, or when: u32, as an expiry. Everything stored before that moment is gone after it.
    """
    if exchange.shared.settings.disable_flush or not exchange.features.supports(request.opcode):
        raise NotSupportedError("FLUSH is not available here")
    exchange.operate(request, request.size, items.flush(int.from_bytes(request.extras, "big")), _encode_flush)


def _encode_flush(exchange: BinaryExchange, request: Request, outcome: Outcome) -> bytes:
    exchange.shared.counters.cmd_flush += 1
    return encode_mutation(exchange, request, outcome, cas=0)


COMMANDS: Final = (
    Command(Opcode.DELETE, item_shape(0), delete, WRITE, quiet=Opcode.DELETEQ, reorderable=True, infos=DURABLE, takes_cas=True),
    Command(Opcode.FLUSH, shape(0, 4), flush, ADMIN_OF_BUCKET, quiet=Opcode.FLUSHQ),
)
