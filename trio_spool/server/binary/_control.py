"""Commands about the connection itself: NOOP, VERSION, VERBOSITY, QUIT, HELLO."""

from __future__ import annotations

import json
import struct

from ...mcbp import Opcode, Request, Status, encode_response
from .._exchange import Exchange


def noop(exchange: Exchange, request: Request) -> None:
    """Reply, which tells a client that everything before it has been answered."""
    exchange.reply(encode_response(Opcode.NOOP, 0, request.opaque))


def version(exchange: Exchange, request: Request) -> None:
    """Reply with the version: three numbers."""
    exchange.reply(encode_response(Opcode.VERSION, 0, request.opaque, value=exchange.service.version.encode()))


def verbosity(exchange: Exchange, request: Request) -> None:
    """Accept a level, u32, which is shown in the statistics and has no other effect."""
    exchange.service.verbosity = int.from_bytes(request.extras, "big")
    exchange.reply(encode_response(Opcode.VERBOSITY, 0, request.opaque))


def quit_(exchange: Exchange, request: Request) -> None:
    """Reply, unless it is the quiet form, and close."""
    if request.opcode == Opcode.QUIT:
        exchange.reply(encode_response(Opcode.QUIT, 0, request.opaque))
    exchange.close()


def hello(exchange: Exchange, request: Request) -> None:
    """Key: what the client calls itself. Value: the features it wants, u16 each; the reply lists those it gets."""
    if len(request.value) % 2:
        exchange.error(request, Status.INVALID, "features are 16 bits each")
        return
    wanted = [feature for (feature,) in struct.iter_unpack(">H", request.value)]
    granted = exchange.session.negotiate(wanted)
    exchange.session.agent = _agent_name(request.key)
    exchange.reply(encode_response(Opcode.HELLO, 0, request.opaque, value=struct.pack(f">{len(granted)}H", *granted)))


def _agent_name(key: bytes) -> str:
    text = key.decode("utf-8", "replace")
    try:
        return str(json.loads(text)["a"])
    except (ValueError, KeyError, TypeError):
        return text
