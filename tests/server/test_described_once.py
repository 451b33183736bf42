"""Each command is described by one row, and what has no row, or no permission in it, is refused."""

from __future__ import annotations

import pytest

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Opcode, Status, encode_request, shape
from trio_spool.server.conversation import ANYBODY, NOBODY, READ, Rule
from trio_spool.server.protocols.binary import COMMANDS, TABLE, BinaryGuest, Command, Table, unknown

MADE_UP = 0x77


def reply(exchange, request) -> None:
    """Reply with nothing but success."""
    exchange.answer(request)


def speaking(*commands: Command):
    table = Table([*COMMANDS, *commands], unknown)
    return lambda first: lambda host: BinaryGuest(host, table)


async def test_every_opcode_is_described_or_unknown() -> None:
    described = {opcode for command in COMMANDS for opcode in command.opcodes}
    assert described == set(Opcode)
    assert [command.opcode for command in TABLE.commands] == sorted(command.opcode for command in COMMANDS)
    for opcode in range(256):
        assert (TABLE.handlers[opcode] is unknown) == (opcode not in described)
        assert (TABLE.shapes[opcode] is None) == (opcode not in described)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.opcode.name)
def test_every_row_says_who_may_and_what_it_does(command: Command) -> None:
    assert command.who != NOBODY
    assert command.run.__doc__.strip()
    for opcode in command.opcodes:
        assert TABLE.rules[opcode] == command.who
        assert TABLE.shapes[opcode] == command.shape
        assert TABLE.reorderable[opcode] == command.reorderable
        assert TABLE.handlers[opcode] is command.run
        assert TABLE.names[opcode] == command.opcode.name.lower()
        assert (opcode in TABLE.changing) == command.changes_session
    assert not (command.changes_session and command.reorderable)


async def test_a_command_without_a_row_is_refused(raw) -> None:
    assert (await raw.call(MADE_UP)).status == Status.UNKNOWN_COMMAND


async def test_a_command_without_a_permission_is_refused_to_everybody(run_service, tmp_path) -> None:
    detect = speaking(Command(MADE_UP, shape(0), reply))
    async with run_service(detect=detect) as service, service.connect() as raw:  # without users, anybody may do anything else
        assert (await raw.call(MADE_UP)).status == Status.NO_ACCESS
        assert (await raw.call(Opcode.NOOP)).status == 0
    write_users(tmp_path / "users", user("root", Role.ADMIN, password="secret"))
    async with run_service(detect=detect, users=tmp_path / "users") as service, service.connect() as raw:
        assert await raw.login("root", "secret") == 0
        assert (await raw.call(MADE_UP)).status == Status.NO_ACCESS
    async with run_service(detect=detect, users=tmp_path / "users") as service, service.connect() as raw:
        assert (await raw.call(MADE_UP)).status == Status.AUTH_ERROR
        assert await raw.closed()


@pytest.mark.parametrize(("who", "status"), [(ANYBODY, 0), (READ, 0), (Rule(bucket=True), Status.NO_ACCESS)])
async def test_a_row_is_all_that_a_command_needs(run_service, who: Rule, status: int) -> None:
    async with run_service(detect=speaking(Command(MADE_UP, shape(4), reply, who))) as service, service.connect() as raw:
        assert (await raw.call(MADE_UP, extras=bytes(4))).status == status
        await raw.send(encode_request(MADE_UP, extras=b"abc"))
        assert (await raw.receive()).status == Status.INVALID


def test_an_opcode_is_described_twice() -> None:
    with pytest.raises(ValueError, match="0x09 is described twice"):
        Table([*COMMANDS, Command(Opcode.GETQ, shape(0), reply, READ)], unknown)
