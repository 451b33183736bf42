"""Logging in by SASL: PLAIN, and the SCRAM mechanisms."""

from __future__ import annotations

from typing import Final, NoReturn, Protocol

import trio

from ..._formats import host_of
from ...auth import ScramError, ScramExchange, User
from ..shared import EVERYTHING, Listener, Logins, Shared
from .errors import LoginRefusedError
from .workers import InWorker

REFUSED: Final = "login refused"
# Characters of a mechanism's name that the log shows: the longest name has 12.
MAX_SHOWN: Final = 32


class LoginSession(Protocol):
    """What a login needs of a session, and changes."""

    listener: Listener
    peer: str
    scram: ScramExchange | None
    failures: int

    def log_in(self, user: User | None) -> None:
        """Let a user in, or nobody."""


def begin(session: LoginSession, logins: Logins) -> None:
    """Begin a login, by whatever mechanism. Any earlier login on this connection is dropped."""
    if session.listener.login or logins.required:
        session.log_in(None)
    session.scram = None


class Login:
    """A step of a login.

    Args:
        shared: What all connections share.
        session: Who logs in.
        connection: The number of the connection, for the log.
        mechanism: The SASL mechanism.
    """

    def __init__(self, shared: Shared, session: LoginSession, connection: int, mechanism: str) -> None:
        self._shared = shared
        self._session = session
        self._connection = connection
        self._mechanism = mechanism

    async def unknown(self) -> NoReturn:
        """Refuse a mechanism that does not exist. It counts like a wrong password: a client that guesses may guess at these, too.

        Raises:
            LoginRefusedError: Always.
        """
        offered = " ".join(self._shared.logins.mechanisms)
        await self._refuse("", "no mechanism has this name", f"no mechanism has this name; the mechanisms are {offered}")

    async def plain(self, message: bytes, in_worker: InWorker) -> None:
        """Log in with an identity to act as, a user and a password, separated by zero bytes.

        Raises:
            LoginRefusedError: The login is refused.
        """
        logins = self._shared.logins
        try:
            identity, name, password = (part.decode() for part in message.split(b"\0"))
        except ValueError:
            await self._refuse("", "not two zero bytes, or not UTF-8")
        if not logins.required:
            self._succeed(EVERYTHING)
            return
        user = await in_worker(lambda: logins.check_in_thread(name, password), logins.hashing)
        if user is None or identity not in ("", name):
            await self._refuse(name, "the password is wrong, or no user has this name")
        self._succeed(user)

    async def scram_first(self, message: bytes) -> bytes:
        """Take the first message of a SCRAM login, and return the challenge.

        Raises:
            LoginRefusedError: The login is refused.
        """
        logins, mechanism = self._shared.logins, self._mechanism
        scram = ScramExchange(mechanism, lambda name: logins.keys_for(name, mechanism), verify=logins.required)
        try:
            challenge = scram.first(message)
        except ScramError as exc:
            await self._refuse("", str(exc))
        self._session.scram = scram
        return challenge

    async def scram_final(self, message: bytes) -> bytes:
        """Take the last message of a SCRAM login, and return the server's signature.

        Raises:
            LoginRefusedError: The login is refused.
        """
        session = self._session
        scram, session.scram = session.scram, None
        if scram is None:
            await self._refuse("", "a step without the beginning of a login")
        if self._mechanism != scram.mechanism:
            await self._refuse(scram.user, "another mechanism than the login began with")
        try:
            signature = scram.final(message)
        except ScramError as exc:
            await self._refuse(scram.user, str(exc))
        user = self._shared.logins.get(scram.user)
        if user is None:
            await self._refuse(scram.user, "no user has this name")
        self._succeed(user)
        return signature

    def _succeed(self, user: User) -> None:
        self._session.log_in(user)
        self._session.failures = 0
        self._shared.counters.auth_cmds += 1

    async def _refuse(self, name: str, reason: str, told: str = "the login was refused") -> NoReturn:
        """Refuse a login: later each time, and in the same words whatever was wrong with the name or the password.

        Args:
            name: The name that the client gave, or an empty string.
            reason: What was wrong, for the log.
            told: What the client is told.
        """
        shared, session = self._shared, self._session
        session.failures += 1
        shared.counters.auth_cmds += 1
        shared.counters.auth_errors += 1
        shared.incidents.report(
            REFUSED, place=host_of(session.peer), peer=session.peer, connection=self._connection, user=name[:128],
            mechanism=self._mechanism[:MAX_SHOWN], reason=reason,
        )  # fmt: skip
        await trio.sleep(shared.logins.delay(session.failures))
        raise LoginRefusedError(told)
