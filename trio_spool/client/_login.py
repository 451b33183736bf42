"""Saying who we are."""

from __future__ import annotations

import trio

from ..mcbp import Opcode, Response, Status
from ._connection import Connection
from ._errors import ServerError, error_of
from ._scram import MECHANISM, ScramClient, refused

_PLAIN = b"PLAIN"


async def log_in(connection: Connection, username: str, password: str, *, encrypted: bool) -> None:
    """Log in: with the password as it is if the connection is encrypted, and else with SCRAM, which does not show it.

    Raises:
        AuthenticationError: The server refuses, or does not prove that it knows the password.
        ServerError: It has no logins.
    """
    if encrypted:
        await _log_in_plainly(connection, username, password)
    else:
        await _log_in_with_scram(connection, username, password)


async def _log_in_plainly(connection: Connection, username: str, password: str) -> None:
    if "\0" in username + password:
        raise refused("a user name and a password can't have zero bytes")
    try:
        value = f"\0{username}\0{password}".encode()
    except UnicodeEncodeError:
        raise refused("the user name or the password has a surrogate, which is no character") from None
    call = await connection.start(Opcode.SASL_AUTH, key=_PLAIN, value=value)
    _expect(await call.next_response(), Status.OK, username)


async def _log_in_with_scram(connection: Connection, username: str, password: str) -> None:
    scram = ScramClient(username, password)
    call = await connection.start(Opcode.SASL_AUTH, key=MECHANISM.encode(), value=scram.first())
    challenge = _expect(await call.next_response(), Status.AUTH_CONTINUE, username)
    # What it computes is of no use to anybody once we don't wait for it any more.
    final = await trio.to_thread.run_sync(scram.final_in_thread, challenge, abandon_on_cancel=True)
    call = await connection.start(Opcode.SASL_STEP, key=MECHANISM.encode(), value=final)
    scram.check(_expect(await call.next_response(), Status.OK, username))


def _expect(response: Response, wanted: Status, username: str) -> bytes:
    """Return the value of a response that has the status that is wanted."""
    if response.status == wanted:
        return response.value
    if response.status == Status.AUTH_ERROR:
        raise refused(f"the login of {username!r} was refused: the user name or the password is wrong")
    if response.status == Status.UNKNOWN_COMMAND:
        raise ServerError("the server has no logins; connect without a user name", response.status)
    if response.status in (Status.OK, Status.AUTH_CONTINUE):
        raise refused("the server's part of the login is not what it should be")
    raise error_of(response)
