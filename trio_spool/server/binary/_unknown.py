"""Every other opcode."""

from __future__ import annotations

from ...mcbp import Request, Status
from .._exchange import Exchange


def unknown(exchange: Exchange, request: Request) -> None:
    """Say so, and go on."""
    exchange.service.counters.bad_requests += 1
    exchange.error(request, Status.UNKNOWN_COMMAND, f"opcode 0x{request.opcode:02x} is not known here")
