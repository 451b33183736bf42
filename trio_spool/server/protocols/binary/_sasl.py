"""SASL_LIST_MECHS, SASL_AUTH, SASL_STEP."""

from __future__ import annotations

from typing import Final

from ....mcbp import KeyRule, Opcode, Request, Status, shape
from ...commands import logins
from ...conversation import FREE, Waits
from ...shared import PLAIN
from ._exchange import BinaryContext, BinaryExchange
from ._row import Command


def list_mechanisms(exchange: BinaryExchange, request: Request) -> None:
    """Return the names of the SASL mechanisms, separated by blanks."""
    exchange.answer(request, value=" ".join(exchange.shared.logins.mechanisms).encode())


def authenticate(exchange: BinaryExchange, request: Request) -> None:
    """Begin a login. Any earlier login on this connection is dropped.

    Key: the mechanism. Value: the client's first message.
    """
    mechanism, offered = _mechanism(request), exchange.shared.logins
    logins.begin(exchange.session, offered)
    known = _plain if mechanism == PLAIN else _scram_first
    exchange.later(known if mechanism in offered.mechanisms else _unknown)


def _mechanism(request: Request) -> str:
    return request.key.decode("ascii", "replace")


def _login(context: BinaryContext) -> logins.Login:
    mechanism = context.label = _mechanism(context.request)
    return logins.Login(context.shared, context.session, context.connection, mechanism)


async def _unknown(context: BinaryContext) -> None:
    with context.waiting(Waits.REFUSAL):
        await _login(context).unknown()


async def _plain(context: BinaryContext) -> None:
    with context.waiting(Waits.REFUSAL):
        await _login(context).plain(context.request.value, context.in_worker)
    await context.reply(context.encode(value=b"Authenticated"))


async def _scram_first(context: BinaryContext) -> None:
    with context.waiting(Waits.REFUSAL):
        challenge = await _login(context).scram_first(context.request.value)
    await context.reply(context.encode(status=Status.AUTH_CONTINUE, value=challenge))


def step(exchange: BinaryExchange, request: Request) -> None:
    """Complete a login.

    Key: the mechanism. Value: the client's last message.
    """
    exchange.later(_scram_final)


async def _scram_final(context: BinaryContext) -> None:
    with context.waiting(Waits.REFUSAL):
        signature = await _login(context).scram_final(context.request.value)
    await context.reply(context.encode(value=signature))


COMMANDS: Final = (
    Command(Opcode.SASL_LIST_MECHS, shape(0), list_mechanisms, FREE),
    Command(Opcode.SASL_AUTH, shape(0, key=KeyRule.REQUIRED, value=True), authenticate, FREE, changes_session=True),
    Command(Opcode.SASL_STEP, shape(0, key=KeyRule.REQUIRED, value=True), step, FREE, changes_session=True),
)
