"""DELETE, FLUSH, and their quiet forms."""

from __future__ import annotations

from ...engine import Delete, Outcome
from ...mcbp import Request, Status
from .._exchange import Exchange
from ..commands import items
from ._mutation import encode_mutation


def delete(exchange: Exchange, request: Request) -> None:
    """Delete one item; a CAS in the header is a condition."""
    exchange.operate(request, Delete(request.key, request.cas), _encode_delete)


def _encode_delete(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    items.count_delete(exchange.service.counters, outcome)
    return encode_mutation(exchange, request, outcome, cas=exchange.session.cas_of_delete(outcome.cas))


def flush(exchange: Exchange, request: Request) -> None:
    """Extras: nothing, or when: u32, as an expiry. Everything stored before that moment is gone after it."""
    if exchange.service.settings.disable_flush or not exchange.session.supports(request.opcode):
        exchange.error(request, Status.NOT_SUPPORTED, "FLUSH is not available here")
        return
    exchange.operate(request, items.flush(int.from_bytes(request.extras, "big")), _encode_flush)


def _encode_flush(exchange: Exchange, request: Request, outcome: Outcome) -> bytes:
    exchange.service.counters.cmd_flush += 1
    return encode_mutation(exchange, request, outcome, cas=0)
