"""SASL_LIST_MECHS, SASL_AUTH, SASL_STEP."""

from __future__ import annotations

import trio

from ...auth import ScramError, ScramExchange, User
from ...mcbp import Request, Status
from .._exchange import Exchange
from .._jobs import Answer
from .._logins import PLAIN
from .._session import EVERYTHING


def list_mechanisms(exchange: Exchange, request: Request) -> None:
    """Reply with the mechanisms, separated by blanks."""
    exchange.answer(request, value=" ".join(exchange.service.logins.mechanisms).encode())


def authenticate(exchange: Exchange, request: Request) -> None:
    """Key: the mechanism. Value: the client's first message. Whoever was logged in before is so no longer."""
    logins = exchange.service.logins
    session = exchange.session
    if session.door.login or logins.required:
        session.log_in(None)
    session.scram = None
    mechanism = request.key.decode("ascii", "replace")
    if mechanism not in logins.mechanisms:
        exchange.error(request, Status.AUTH_ERROR, f"the mechanisms are {' '.join(logins.mechanisms)}")
    elif mechanism == PLAIN:
        exchange.later(_plain)
    else:
        exchange.later(lambda answer: _scram_first(answer, mechanism))


async def _plain(answer: Answer) -> None:
    """The value is an identity to act as, a user, and a password, with zero bytes between them."""
    logins = answer.service.logins
    parts = answer.request.value.split(b"\0")
    answer.key = PLAIN
    try:
        identity, name, password = (part.decode() for part in parts)
    except ValueError:
        await _fail(answer, "", "not two zero bytes, or not UTF-8")
        return
    if not logins.required:
        await _succeed(answer, EVERYTHING, b"Authenticated")
        return
    user = await answer.in_worker(lambda: logins.check_in_thread(name, password), logins.hashing)
    if user is None or identity not in ("", name):
        await _fail(answer, name, "the password is wrong, or there is no such user")
    else:
        await _succeed(answer, user, b"Authenticated")


async def _scram_first(answer: Answer, mechanism: str) -> None:
    logins = answer.service.logins
    answer.key = mechanism
    scram = ScramExchange(mechanism, lambda name: logins.keys_for(name, mechanism), verify=logins.required)
    try:
        challenge = scram.first(answer.request.value)
    except ScramError as exc:
        await _fail(answer, "", str(exc))
        return
    answer.session.scram = scram
    await answer.reply(answer.encode(status=Status.AUTH_CONTINUE, value=challenge))


def step(exchange: Exchange, request: Request) -> None:
    """Key: the mechanism. Value: the client's last message."""
    if exchange.session.scram is None:
        exchange.error(request, Status.AUTH_ERROR, "no login has begun")
    else:
        exchange.later(_scram_final)


async def _scram_final(answer: Answer) -> None:
    logins, session = answer.service.logins, answer.session
    scram, session.scram = session.scram, None
    assert scram is not None
    answer.key = scram.mechanism
    if answer.request.key.decode("ascii", "replace") != scram.mechanism:
        await _fail(answer, scram.user, "another mechanism than the login began with")
        return
    try:
        signature = scram.final(answer.request.value)
    except ScramError as exc:
        await _fail(answer, scram.user, str(exc))
        return
    user = logins.get(scram.user)
    if user is None:
        await _fail(answer, scram.user, "there is no such user")
    else:
        await _succeed(answer, user, signature)


async def _succeed(answer: Answer, user: User, value: bytes) -> None:
    session = answer.session
    session.log_in(user)
    session.failures = 0
    answer.service.counters.auth_cmds += 1
    await answer.reply(answer.encode(value=value))


async def _fail(answer: Answer, name: str, reason: str) -> None:
    """Refuse a login: later each time, in the same words whatever was wrong."""
    service, session = answer.service, answer.session
    session.failures += 1
    service.counters.auth_cmds += 1
    service.counters.auth_errors += 1
    service.log.warning("login refused", connection=answer.connection, user=name[:128], mechanism=answer.key, reason=reason)
    await trio.sleep(service.logins.delay(session.failures))
    await answer.error(Status.AUTH_ERROR, "the login was refused")
