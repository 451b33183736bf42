"""Logins of a client."""

from __future__ import annotations

import trio

from ..mcbp import Opcode, Response, Status
from ._connection import Connection
from ._errors import ServerError, error_of
from ._scram import MECHANISM, ScramClient, refused

_PLAIN = b"PLAIN"


async def log_in(connection: Connection, username: str, password: str, *, encrypted: bool) -> None:
    """Log in. The password is sent as it is if the connection is encrypted; otherwise SCRAM is used, which does not send it.

    Args:
        connection: The connection.
        username: The name of the user.
        password: The password.
        encrypted: Whether the connection is encrypted.

    Raises:
        AuthenticationError: The server refuses the login, or does not prove that it knows the password.
        ServerError: The server has no logins.
    """
    if encrypted:
        await _log_in_plainly(connection, username, password)
    else:
        await _log_in_with_scram(connection, username, password)


async def _log_in_plainly(connection: Connection, username: str, password: str) -> None:
    if "\0" in username + password:
        raise refused("the user name and the password can't contain zero bytes")
    try:
        value = f"\0{username}\0{password}".encode()
    except UnicodeEncodeError:
        raise refused("the user name or the password contains a surrogate, which is not a character") from None
    call = await connection.start(Opcode.SASL_AUTH, key=_PLAIN, value=value)
    _expect(await call.next_response(), Status.OK, username)


async def _log_in_with_scram(connection: Connection, username: str, password: str) -> None:
    scram = ScramClient(username, password)
    call = await connection.start(Opcode.SASL_AUTH, key=MECHANISM.encode(), value=scram.first())
    challenge = _expect(await call.next_response(), Status.AUTH_CONTINUE, username)
    # Abandoned on cancellation: nobody needs the result of the computation then.
    final = await trio.to_thread.run_sync(scram.final_in_thread, challenge, abandon_on_cancel=True)
    call = await connection.start(Opcode.SASL_STEP, key=MECHANISM.encode(), value=final)
    scram.check(_expect(await call.next_response(), Status.OK, username))


def _expect(response: Response, wanted: Status, username: str) -> bytes:
    """Return the value of a response that must have a certain status."""
    if response.status == wanted:
        return response.value
    if response.status == Status.AUTH_ERROR:
        raise refused(f"the login of {username!r} was refused: the user name or the password is wrong")
    if response.status == Status.UNKNOWN_COMMAND:
        raise ServerError("the server has no logins; connect without a user name", response.status)
    if response.status == Status.OK:
        raise refused("the server broke the rules of the login: it ended before the server proved that it knows the password")
    if response.status == Status.AUTH_CONTINUE:
        raise refused("the server broke the rules of the login: it asks for another message after the last one")
    raise error_of(response)
