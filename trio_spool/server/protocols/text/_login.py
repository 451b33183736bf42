"""Logging in: the block of the first ``set`` carries the user and the password."""

from __future__ import annotations

from typing import Final

from ....mctext import STORED, Request
from ...commands import logins
from ...commands.errors import LoginRefusedError
from ._exchange import TextContext, TextExchange

UNAUTHENTICATED: Final = b"CLIENT_ERROR unauthenticated\r\n"
_BAD_FORMAT: Final = b"CLIENT_ERROR bad authentication token format\r\n"
_REFUSED: Final = b"CLIENT_ERROR authentication failure\r\n"
# The name of this way to log in, for the log.
_MECHANISM: Final = "text"
# The largest block from a client that has not logged in. Picked, not measured.
MAX_BLOCK: Final = 4096


def log_in(exchange: TextExchange, request: Request) -> None:
    """Log in, as the first command of a client that has to.

    Line: that of ``set``; key, flags and expiry do not matter. Block: the user's name, a blank, and the password.
    """
    name, blank, password = request.value.partition(b" ")
    if not (name and blank and password):
        exchange.reply(_BAD_FORMAT)
        return

    async def work(context: TextContext) -> None:
        login = logins.Login(context.shared, context.session, context.connection, _MECHANISM)
        try:
            await login.plain(b"\0%b\0%b" % (name, password), context.in_worker)
        except LoginRefusedError:
            await context.reply(_REFUSED)
        else:
            await context.reply(STORED)

    exchange.later(work)
