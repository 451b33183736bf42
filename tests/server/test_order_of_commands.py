"""Which commands may overtake a long one on an unordered connection: all opcodes, one by one."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import (
    Feature,
    Opcode,
    ScanRequest,
    SnapshotRequirements,
    encode_request,
    encode_scan_request,
    opcode_name,
)
from trio_spool.server.protocols.binary import TABLE

# Those that are about items, scans and statistics, each by itself. All others are barriers.
MAY_OVERTAKE = frozenset(
    {
        Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ, Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ, Opcode.TOUCH,
        Opcode.GET_META, Opcode.GET_RANDOM_KEY, Opcode.GET_LOCKED, Opcode.UNLOCK_KEY, Opcode.SET, Opcode.SETQ, Opcode.ADD,
        Opcode.ADDQ, Opcode.REPLACE, Opcode.REPLACEQ, Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND, Opcode.PREPENDQ,
        Opcode.DELETE, Opcode.DELETEQ, Opcode.INCREMENT, Opcode.INCREMENTQ, Opcode.DECREMENT, Opcode.DECREMENTQ,
        Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT, Opcode.SUBDOC_MULTI_LOOKUP, Opcode.SUBDOC_DICT_ADD,
        Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE, Opcode.SUBDOC_ARRAY_PUSH_LAST,
        Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT, Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER,
        Opcode.SUBDOC_MULTI_MUTATION, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR, Opcode.STAT, Opcode.GET_KEYS, Opcode.OBSERVE_SEQNO, Opcode.RANGE_SCAN_CREATE,
        Opcode.RANGE_SCAN_CONTINUE, Opcode.RANGE_SCAN_CANCEL, Opcode.PREPARE_SNAPSHOT, Opcode.GET_FILE_FRAGMENT,
    }
)  # fmt: skip
BARRIERS = frozenset(
    {
        Opcode.NOOP, Opcode.VERSION, Opcode.VERBOSITY, Opcode.QUIT, Opcode.QUITQ, Opcode.FLUSH, Opcode.FLUSHQ, Opcode.HELLO,
        Opcode.SASL_LIST_MECHS, Opcode.SASL_AUTH, Opcode.SASL_STEP, Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET,
        Opcode.LIST_BUCKETS, Opcode.SELECT_BUCKET, Opcode.GET_CLUSTER_CONFIG, Opcode.GET_ERROR_MAP,
        Opcode.SET_COLLECTIONS_MANIFEST, Opcode.GET_COLLECTIONS_MANIFEST, Opcode.GET_COLLECTION_ID, Opcode.GET_SCOPE_ID,
        Opcode.RELEASE_SNAPSHOT,
    }
)  # fmt: skip
# Some of those that are not commands.
UNKNOWN = sorted(set(range(256)) - set(Opcode))[::5]
# The opaques of the long command, of the one that may overtake it, and of a GET behind that.
LONG, TESTED, BEHIND = 1, 2, 3
# What the long command waits for: so many mutations.
WAITS_FOR = 20
EXTRAS = bytes(8)


class Race:
    """A long command that ends when we say so, and what is answered before and after it."""

    def __init__(self, service, raw, other) -> None:
        self.service, self.raw, self.other = service, raw, other

    async def begin(self, *frames: bytes) -> None:
        """Create a scan of mutations still to come, with some requests behind it."""
        observed = (await self.other.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
        uuid, seqno = int.from_bytes(observed[3:11], "big"), int.from_bytes(observed[11:19], "big")
        wanted = ScanRequest(requirements=SnapshotRequirements(vbucket_uuid=uuid, seqno=seqno + WAITS_FOR, timeout=60))
        long = encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(wanted), opaque=LONG)
        await self.raw.send(long, *frames)
        await wait_all_tasks_blocked()

    async def end(self) -> None:
        """Let the scan be created."""
        mutation = encode_request(Opcode.SETQ, key=b"other", extras=EXTRAS)
        await self.other.send(mutation * WAITS_FOR, encode_request(Opcode.NOOP))
        await self.other.receive()

    async def next_opaque(self) -> int:
        with trio.fail_after(20):
            return (await self.raw.receive()).opaque


@pytest.fixture
async def race(service):
    async with service.connect() as raw, service.connect() as other:
        await other.call(Opcode.SET, key=b"k", value=b"value", extras=EXTRAS)
        await raw.hello(Feature.UNORDERED_EXECUTION)
        yield Race(service, raw, other)


def test_the_table_has_every_opcode() -> None:
    assert not MAY_OVERTAKE & BARRIERS
    assert set(Opcode) == MAY_OVERTAKE | BARRIERS


@pytest.mark.parametrize("opcode", sorted(MAY_OVERTAKE), ids=opcode_name)
async def test_what_may_overtake(race, opcode: int) -> None:
    # The CAS makes quiet changes fail, which they say. Other quiet ones fail or hit.
    await race.begin(race.raw.plain_frame(opcode, cas=opcode in TABLE.taking_cas, opaque=TESTED))
    assert await race.next_opaque() == TESTED
    await race.end()
    while (opaque := await race.next_opaque()) == TESTED:
        pass  # there may be several replies
    assert opaque == LONG


@pytest.mark.parametrize("opcode", [*sorted(BARRIERS), *UNKNOWN], ids=opcode_name)
async def test_what_is_a_barrier(race, opcode: int) -> None:
    await race.begin(race.raw.plain_frame(opcode, opaque=TESTED), encode_request(Opcode.GET, key=b"k", opaque=BEHIND))
    await race.end()
    assert await race.next_opaque() == LONG
    if opcode != Opcode.QUITQ:
        assert await race.next_opaque() == TESTED
    if opcode in (Opcode.QUIT, Opcode.QUITQ):
        assert await race.raw.closed()
    else:
        assert await race.next_opaque() == BEHIND


@pytest.mark.parametrize(
    ("opcode", "key", "value"),
    [
        (Opcode.CREATE_BUCKET, b"new", b""),
        (Opcode.DELETE_BUCKET, b"old", b""),
        (Opcode.SASL_AUTH, b"PLAIN", b"\0boss\0wrong"),  # which is answered late
        (Opcode.SET_COLLECTIONS_MANIFEST, b"", b'{"uid":"1","scopes":[{"uid":"0","name":"_default","collections":['
         b'{"uid":"0","name":"_default"}]}]}'),
    ],
)  # fmt: skip
async def test_what_is_behind_a_long_barrier_waits_for_it(run_service, tmp_path, opcode: int, key: bytes, value: bytes) -> None:
    write_users(tmp_path / "users.json", user("boss", *Role, password="right"))
    async with run_service(users=tmp_path / "users.json") as service, service.connect() as raw:
        assert await raw.login("boss", "right") == 0
        await raw.hello(Feature.UNORDERED_EXECUTION)
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"old")).status == 0
        behind = encode_request(Opcode.GET, key=b"k", opaque=BEHIND)
        await raw.send(encode_request(opcode, key=key, value=value, opaque=TESTED), behind)
        with trio.fail_after(20):
            assert [(await raw.receive()).opaque for _ in range(2)] == [TESTED, BEHIND]
