"""A CAS in the header of a command to which it means nothing: refused in a Couchbase session, as Couchbase does."""

from __future__ import annotations

import pytest

from trio_spool.mcbp import Feature, Opcode, Status, encode_request
from trio_spool.server.protocols.binary import TABLE, Command

EXTRAS = bytes(8)
# What Couchbase accepts a CAS with, of what there is here.
TAKING = {
    Opcode.SET, Opcode.SETQ, Opcode.REPLACE, Opcode.REPLACEQ, Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND, Opcode.PREPENDQ,
    Opcode.DELETE, Opcode.DELETEQ, Opcode.UNLOCK_KEY, Opcode.OBSERVE_SEQNO, Opcode.SELECT_BUCKET, Opcode.LIST_BUCKETS,
    Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET, *range(Opcode.SUBDOC_GET, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR + 1),
}  # fmt: skip
NEEDLESS = [command for command in TABLE.commands if command.opcode not in TAKING]


def test_the_table() -> None:
    assert TABLE.taking_cas == TAKING


@pytest.mark.parametrize("command", NEEDLESS, ids=lambda command: command.opcode.name)
async def test_it_is_refused(raw, command: Command) -> None:
    await raw.hello(Feature.XERROR)
    for opcode in command.opcodes:
        await raw.send(raw.plain_frame(opcode, cas=1))
        reply = await raw.receive()
        assert (reply.opcode, reply.status) == (opcode, Status.INVALID)
        assert b"CAS" in reply.value
    assert (await raw.call(Opcode.NOOP)).status == 0


@pytest.mark.parametrize("features", [(Feature.XERROR,), (Feature.COLLECTIONS,)])
async def test_one_of_many_gets(raw, features: tuple[Feature, ...]) -> None:
    await raw.hello(*features)
    key = b"\0k" if Feature.COLLECTIONS in features else b"k"
    assert (await raw.call(Opcode.SET, key=key, value=b"v", extras=EXTRAS)).status == 0
    for cas in (1, 1 << 8, 1 << 63):
        gets = [encode_request(Opcode.GET, key=key, opaque=number, cas=cas if number == 15 else 0) for number in range(30)]
        await raw.send(*gets)
        replies = [await raw.receive() for _ in gets]
        assert [reply.opaque for reply in replies] == list(range(30))
        assert [reply.status for reply in replies] == [Status.INVALID if number == 15 else 0 for number in range(30)]


@pytest.mark.parametrize("opcode", [Opcode.GET, Opcode.ADD, Opcode.TOUCH, Opcode.INCREMENT, Opcode.NOOP])
async def test_a_classic_client_may_send_one(raw, opcode: int) -> None:
    await raw.send(raw.plain_frame(opcode, cas=1))
    assert (await raw.receive()).status != Status.INVALID


async def test_an_unknown_command_stays_unknown(raw) -> None:
    await raw.hello(Feature.XERROR)
    assert (await raw.call(0x77, cas=1)).status == Status.UNKNOWN_COMMAND
