"""``watch``: the connection becomes a stream of lines about what happens."""

from __future__ import annotations

from typing import Final

from ....auth import Role
from ....mctext import OK, RemoteProtocolError, Request, encode_line
from ...conversation import Rule, Waits
from ...shared import Cause, EventKind, Watcher
from ._exchange import TextContext, TextExchange
from ._row import Command

_KINDS: Final = {kind.value.encode(): kind for kind in EventKind}
# What memcached has, and nothing happens of here.
_SILENT: Final = frozenset((b"rawcmds", b"sysevents", b"proxyreqs", b"proxyevents", b"proxyuser"))


def watch(exchange: TextExchange, request: Request) -> None:
    """Stream lines about what happens, until the connection ends: no other command is answered.

    Line: any of ``fetchers``, which is the default, ``mutations``, ``deletions``, ``evictions`` and ``connevents``.
    """
    wanted = list(request.arguments) or [b"fetchers"]
    if not all(word in _KINDS or word in _SILENT for word in wanted):
        raise RemoteProtocolError("ERROR")
    kinds = frozenset(_KINDS[word] for word in wanted if word in _KINDS)
    watcher = exchange.shared.events.add(kinds)
    if watcher is None:
        exchange.reply(encode_line(b"WATCHER_TOO_MANY log watcher limit reached"))
    else:
        exchange.later(lambda context: _stream(context, watcher))


async def _stream(context: TextContext, watcher: Watcher) -> None:
    context.endless = True
    try:
        await context.reply(OK)
        while lines := await _next(context, watcher):
            await context.reply(lines)
        context.exchange.close(Cause.DRAIN)
    finally:
        context.shared.events.remove(watcher)


async def _next(context: TextContext, watcher: Watcher) -> bytes:
    with context.waiting(Waits.EVENTS):
        return await watcher.take()


COMMANDS: Final = (Command("watch", watch, Rule((Role.READ, Role.STATS)), waits=True),)
