"""Every opcode that no row describes."""

from __future__ import annotations

from ....mcbp import Request, Status
from ._exchange import BinaryExchange


def unknown(exchange: BinaryExchange, request: Request) -> None:
    """Reply that the command is unknown, and go on."""
    exchange.shared.counters.bad_requests += 1
    exchange.error(request, Status.UNKNOWN_COMMAND, f"the opcode 0x{request.opcode:02x} is unknown")
