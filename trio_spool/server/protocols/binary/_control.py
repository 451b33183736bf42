"""Commands about the connection itself: NOOP, VERSION, VERBOSITY, QUIT, HELLO."""

from __future__ import annotations

import json
import struct
from typing import Final

from ....mcbp import KeyRule, Opcode, Request, encode_response, shape
from ...commands.errors import InvalidRequestError
from ...conversation import ADMIN, ANYBODY, FREE
from ...shared import Cause
from ._exchange import BinaryExchange
from ._row import Command


def noop(exchange: BinaryExchange, request: Request) -> None:
    """Reply, which tells a client that everything before it has been answered."""
    exchange.reply(encode_response(Opcode.NOOP, 0, request.opaque))


def version(exchange: BinaryExchange, request: Request) -> None:
    """Return the version: three numbers."""
    exchange.reply(encode_response(Opcode.VERSION, 0, request.opaque, value=exchange.shared.version.encode()))


def verbosity(exchange: BinaryExchange, request: Request) -> None:
    """Accept a level, which is shown in the statistics and has no other effect.

    Extras: the level u32.
    """
    exchange.shared.verbosity = int.from_bytes(request.extras, "big")
    exchange.reply(encode_response(Opcode.VERBOSITY, 0, request.opaque))


def quit_(exchange: BinaryExchange, request: Request) -> None:
    """Close the connection."""
    if not exchange.is_quiet(request):
        exchange.reply(encode_response(Opcode.QUIT, 0, request.opaque))
    exchange.close(Cause.QUIT)


def hello(exchange: BinaryExchange, request: Request) -> None:
    """Negotiate features.

    Key: what the client calls itself. Value: the features it wants, u16 each; the reply lists those that are granted.
    """
    if len(request.value) % 2:
        raise InvalidRequestError(f"features have 2 bytes each; got {len(request.value)} bytes")
    wanted = [feature for (feature,) in struct.iter_unpack(">H", request.value)]
    granted = exchange.features.negotiate(wanted)
    exchange.features.agent = _agent_name(request.key)
    exchange.reply(encode_response(Opcode.HELLO, 0, request.opaque, value=struct.pack(f">{len(granted)}H", *granted)))


def _agent_name(key: bytes) -> str:
    text = key.decode("utf-8", "replace")
    try:
        return str(json.loads(text)["a"]).encode("utf-8", "replace").decode()  # an escape may be half a character
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


COMMANDS: Final = (
    Command(Opcode.QUIT, shape(0), quit_, FREE, quiet=Opcode.QUITQ),
    Command(Opcode.NOOP, shape(0), noop, ANYBODY),
    Command(Opcode.VERSION, shape(0), version, FREE),
    Command(Opcode.VERBOSITY, shape(4), verbosity, ADMIN),
    Command(Opcode.HELLO, shape(0, key=KeyRule.OPTIONAL, value=True), hello, FREE, changes_session=True),
)
