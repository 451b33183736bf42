"""``version``, ``verbosity``, ``mn``, ``quit``, ``shutdown``, ``cache_memlimit``; and what belongs to memcached's memory."""

from __future__ import annotations

from typing import Final

from ....mctext import BAD_LINE, NOREPLY, OK, RemoteProtocolError, Request, encode_line, parse_flags, parse_signed
from ...conversation import ADMIN, ANYBODY, FREE
from ...shared import Cause
from ._exchange import TextExchange
from ._row import Command


def version(exchange: TextExchange, request: Request) -> None:
    """Return the version: three numbers."""
    exchange.reply(b"VERSION " + exchange.shared.version.encode() + b"\r\n")


def no_operation(exchange: TextExchange, request: Request) -> None:
    """Reply ``MN``, which tells a client that everything before it has been answered."""
    exchange.reply(b"MN\r\n")


def quit_(exchange: TextExchange, request: Request) -> None:
    """Close the connection."""
    exchange.close(Cause.QUIT)


def _confirm(exchange: TextExchange, request: Request, reply: bytes = OK) -> None:
    if request.arguments[-1:] != [NOREPLY]:
        exchange.reply(reply)


def verbosity(exchange: TextExchange, request: Request) -> None:
    """Accept a level, which is shown in the statistics and has no other effect.

    Line: the level, ``noreply``.
    """
    if len(request.arguments) not in (1, 2):
        raise RemoteProtocolError("ERROR")
    level = parse_flags(request.arguments[0])
    if level is None:
        raise RemoteProtocolError(BAD_LINE)
    exchange.shared.verbosity = level
    _confirm(exchange, request)


def shutdown(exchange: TextExchange, request: Request) -> None:
    """Refuse to end the service: a signal does that. memcached refuses this as well, unless it is run with ``-A``."""
    exchange.reply(encode_line(b"ERROR: shutdown not enabled"))


def cache_memlimit(exchange: TextExchange, request: Request) -> None:
    """Refuse to change how much memory items take: they are on disk, and have the bound that an option sets.

    Line: megabytes, ``noreply``.
    """
    if len(request.arguments) not in (1, 2):
        raise RemoteProtocolError("ERROR")
    if parse_flags(request.arguments[0]) is None:
        raise RemoteProtocolError("ERROR")
    _confirm(exchange, request, encode_line(b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"))


def slabs(exchange: TextExchange, request: Request) -> None:
    """Answer for slab classes, of which there are none, so that none can be reassigned, and nothing moves.

    Line: ``reassign`` and two classes, or ``automove`` and 0.
    """
    words = [word for word in request.arguments if word != NOREPLY]
    if words[:1] == [b"reassign"] and len(words) == 3:
        if parse_signed(words[1]) is None or parse_signed(words[2]) is None:
            raise RemoteProtocolError(BAD_LINE)
        exchange.reply(encode_line(b"BADCLASS invalid src or dst class id"))
    elif words[:1] == [b"automove"] and len(words) == 2 and words[1] != b"ratio":
        level = parse_flags(words[1])
        if level is None:
            raise RemoteProtocolError(BAD_LINE)
        if level:
            raise RemoteProtocolError("CLIENT_ERROR there are no slab classes")
        _confirm(exchange, request)
    else:
        raise RemoteProtocolError("ERROR")


def lru(exchange: TextExchange, request: Request) -> None:
    """Refuse to tune the lists of recently used items, of which there are none."""
    if len(request.arguments) < 2:
        raise RemoteProtocolError("ERROR")
    raise RemoteProtocolError("CLIENT_ERROR there is no LRU to tune")


COMMANDS: Final = (
    Command("version", version, FREE),
    Command("mn", no_operation, ANYBODY),
    Command("quit", quit_, FREE),
    Command("verbosity", verbosity, ADMIN, noreply=True),
    Command("shutdown", shutdown, ADMIN),
    Command("cache_memlimit", cache_memlimit, ADMIN, noreply=True),
    Command("slabs", slabs, ADMIN),
    Command("lru", lru, ADMIN),
)
