"""Who asks: basic authentication, or a certificate, with the same checks and delays as logins of the binary protocol."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ...auth import ScramExchange, User
from .._listening import names_of
from ..commands.errors import LoginRefusedError
from ..commands.logins import Login
from ..http import Client, HttpError, Request
from ..shared import EVERYTHING, Listener, Shared

T = TypeVar("T")

_CHALLENGE: Final = (("WWW-Authenticate", 'Basic realm="trio-spool", charset="UTF-8"'),)
_BASIC: Final = re.compile(r"basic +(?P<credentials>[A-Za-z0-9+/=]+) *", re.IGNORECASE)


class HttpSession:
    """What a login needs to know of a connection, and changes: see `LoginSession`."""

    def __init__(self, client: Client) -> None:
        self.listener = Listener(tls=client.tls, login=True)
        self.peer = client.peer
        self.scram: ScramExchange | None = None
        self.failures = 0
        self.user: User | None = None
        self.authorization = ""  # the header that has proved who the user is

    def log_in(self, user: User | None) -> None:
        """Let a user in, or nobody."""
        self.user = user


async def find_user(shared: Shared, request: Request) -> User:
    """Return who asks. Without users, that is anybody, who may do everything.

    A password that was checked is not checked again on the same connection, unless the users have been read again.

    Raises:
        HttpError: Nobody that is known; a wrong password is refused later each time.
    """
    logins = shared.logins
    if not logins.required:
        return EVERYTHING
    authorization = request.headers.get("authorization", "")
    if not authorization:
        return _by_certificate(shared, request.client)
    session = _session_of(request.client)
    if session.user is not None and session.authorization == authorization and logins.get(session.user.name) is session.user:
        return session.user
    message = _message(authorization)
    session.user = None
    try:
        await Login(shared, session, request.client.number, "BASIC").plain(message, _in_worker)
    except LoginRefusedError as exc:
        raise HttpError(401, str(exc), _CHALLENGE) from None
    session.authorization = authorization
    user: User | None = session.user
    assert user is not None
    return user


def _session_of(client: Client) -> HttpSession:
    if not isinstance(client.kept, HttpSession):
        client.kept = HttpSession(client)
    return client.kept


def _by_certificate(shared: Shared, client: Client) -> User:
    for name in names_of(client.certificate):
        if (user := shared.logins.get(name)) is not None:
            return user
    raise HttpError(401, "log in first: this needs a user and a password", _CHALLENGE)


def _message(authorization: str) -> bytes:
    """Return the credentials of a header as a login with PLAIN has them."""
    match = _BASIC.fullmatch(authorization)
    if match is None:
        raise HttpError(401, "only basic authentication is available", _CHALLENGE)
    try:
        name, colon, password = base64.b64decode(match["credentials"], validate=True).partition(b":")
    except binascii.Error:
        raise HttpError(400, "the credentials are not base64") from None
    if not colon:
        raise HttpError(400, "the credentials have no colon between the user and the password")
    return b"\0" + name + b"\0" + password


async def _in_worker(function: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    return await trio.to_thread.run_sync(function, limiter=limiter)
