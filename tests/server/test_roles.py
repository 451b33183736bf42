"""What users may do: roles everywhere, roles in one bucket, and what a refusal says."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest
import structlog

from support.users import user, write_users
from trio_spool.auth import Role, User
from trio_spool.mcbp import CONTINUE, Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)
READ, WRITE, STATS, ADMIN = Role.READ, Role.WRITE, Role.STATS, Role.ADMIN
# What each opcode takes. One that is not known is answered.
ROLES = {
    **dict.fromkeys(
        [
            Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ, Opcode.GET_META, Opcode.GET_KEYS, Opcode.GET_RANDOM_KEY,
            Opcode.OBSERVE_SEQNO, Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT, Opcode.SUBDOC_MULTI_LOOKUP,
            Opcode.RANGE_SCAN_CREATE, Opcode.RANGE_SCAN_CONTINUE, Opcode.RANGE_SCAN_CANCEL,
        ],
        frozenset({READ}),
    ),
    **dict.fromkeys(
        [
            Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.ADDQ, Opcode.REPLACE, Opcode.REPLACEQ, Opcode.APPEND, Opcode.APPENDQ,
            Opcode.PREPEND, Opcode.PREPENDQ, Opcode.DELETE, Opcode.DELETEQ, Opcode.TOUCH, Opcode.UNLOCK_KEY,
            Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
            Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
            Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_MULTI_MUTATION,
            Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR,
        ],
        frozenset({WRITE}),
    ),
    **dict.fromkeys(
        [
            Opcode.INCREMENT, Opcode.INCREMENTQ, Opcode.DECREMENT, Opcode.DECREMENTQ, Opcode.GAT, Opcode.GATQ, Opcode.GATK,
            Opcode.GATKQ, Opcode.GET_LOCKED,
        ],
        frozenset({READ, WRITE}),
    ),
    Opcode.STAT: {STATS},
    **dict.fromkeys(
        [
            Opcode.FLUSH, Opcode.FLUSHQ, Opcode.SET_COLLECTIONS_MANIFEST, Opcode.PREPARE_SNAPSHOT, Opcode.RELEASE_SNAPSHOT,
            Opcode.GET_FILE_FRAGMENT, Opcode.VERBOSITY, Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET,
        ],
        frozenset({ADMIN}),
    ),
    **dict.fromkeys(
        [
            Opcode.NOOP, Opcode.LIST_BUCKETS, Opcode.GET_CLUSTER_CONFIG, Opcode.GET_COLLECTIONS_MANIFEST,
            Opcode.GET_COLLECTION_ID, Opcode.GET_SCOPE_ID, 0x77,
        ],
        frozenset(),
    ),
}  # fmt: skip
# Those that are tested by themselves: they need no login, or change who is logged in, or what is selected.
OTHERS = {
    Opcode.HELLO, Opcode.VERSION, Opcode.QUIT, Opcode.QUITQ, Opcode.SASL_LIST_MECHS, Opcode.SASL_AUTH, Opcode.SASL_STEP,
    Opcode.GET_ERROR_MAP, Opcode.SELECT_BUCKET,
}  # fmt: skip
SERVER_WIDE = frozenset({Opcode.VERBOSITY, Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET})
HELD = {"reader": {READ}, "writer": {WRITE}, "both": {READ, WRITE}, "watcher": {STATS}, "boss": {ADMIN}}


def named(name: str, *roles: Role, **buckets: Iterable[Role]) -> User:
    return user(name, *roles, password=name, buckets=buckets)


USERS = [
    *(named(name, *roles) for name, roles in HELD.items()),
    *(named(f"local {name}", default=roles) for name, roles in HELD.items()),
    named("mixed", READ, other=[WRITE]),
    named("elsewhere", other=[ADMIN]),
    named("nothing"),
]


@pytest.fixture
async def service(run_service, tmp_path: Path):
    write_users(tmp_path / "users.json", *USERS)
    tuning = Tuning(first_refusal=0.0)
    async with run_service(
        tuning=tuning, users=tmp_path / "users.json", data_dir=tmp_path / "data", engine="lmdb", fsync="no"
    ) as served:
        await served.inside.buckets.create("other")
        yield served


def allowed(name: str, opcode: int) -> bool:
    local, _, role = name.rpartition(" ")
    held = HELD[role] - {ADMIN} if local and opcode in SERVER_WIDE else HELD[role]
    return ADMIN in held or held >= ROLES[opcode]


def test_the_table_has_every_opcode() -> None:
    assert not OTHERS & ROLES.keys()
    assert OTHERS | ROLES.keys() - {0x77} == set(Opcode)


@pytest.mark.parametrize("name", [*HELD, *(f"local {name}" for name in HELD)])
async def test_roles(service, name: str) -> None:
    async with service.connect() as raw:
        assert await raw.login(name, name) == 0
        for opcode, roles in ROLES.items():
            await raw.hello(Feature.XERROR, Feature.JSON)
            await raw.send(raw.plain_frame(opcode, opaque=5), encode_request(Opcode.VERSION, opaque=6))
            reply = await raw.receive()
            if allowed(name, opcode):
                assert reply.status not in (Status.NO_ACCESS, Status.AUTH_ERROR, Status.NO_BUCKET), opcode
            else:
                assert (reply.opcode, reply.opaque, reply.status, reply.datatype) == (opcode, 5, Status.NO_ACCESS, 1), opcode
                error = json.loads(reply.value)["error"]
                assert uuid.UUID(error["ref"])
                wanted = " and ".join(role.value for role in (READ, WRITE, STATS, ADMIN) if role in roles)
                assert error["context"] == f"the user {name!r} lacks the role {wanted} here"
            while reply.opaque != 6:  # a quiet command may have answered nothing
                reply = await raw.receive()


async def test_a_refusal_in_a_classic_session(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("reader", "reader") == 0
        reply = await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
        assert (reply.status, reply.value, reply.cas) == (Status.NO_ACCESS, b"No access", 0)
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


async def test_roles_of_one_bucket(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("mixed", "mixed") == 0
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default other"
        assert (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).status == Status.NO_ACCESS
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).status == 0
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"v"
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"default")).status == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
        assert (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).status == Status.NO_ACCESS


async def test_the_default_bucket_is_selected_for_those_who_may_use_it(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("elsewhere", "elsewhere") == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NO_BUCKET
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"other"
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"default")).status == Status.NO_ACCESS
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"none")).status == Status.NO_ACCESS
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NO_BUCKET
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
        # What one user had selected is not the next one's.
        assert await raw.login("nothing", "nothing") == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NO_BUCKET
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b""
        assert (await raw.call(Opcode.NOOP)).status == 0
        assert await raw.login("reader", "reader") == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


async def test_durability_without_a_bucket(service) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as raw:
            assert await raw.login("nothing", "nothing") == 0
            await raw.call(Opcode.NOOP, framing=b"\x11\2")
            assert (await raw.call(Opcode.NOOP)).status == 0
    assert logs == []


async def test_an_admin_of_one_bucket_is_none_of_the_others(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("elsewhere", "elsewhere") == 0
        for _ in range(2):
            assert (await raw.call(Opcode.CREATE_BUCKET, key=b"mine")).status == Status.NO_ACCESS
            assert (await raw.call(Opcode.DELETE_BUCKET, key=b"other")).status == Status.NO_ACCESS
            assert (await raw.call(Opcode.VERBOSITY, extras=bytes(4))).status == Status.NO_ACCESS
            assert (await raw.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.FLUSH)).status == 0


async def test_a_scan_of_another_bucket_is_not_there(service) -> None:
    async with service.connect() as boss, service.connect() as other, service.connect() as helper:
        assert await boss.login("boss", "boss") == 0
        await boss.call(Opcode.SET, key=b"secret", value=b"v", extras=EXTRAS)
        scan = (await boss.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value
        assert await other.login("elsewhere", "elsewhere") == 0
        assert (await other.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        extras = CONTINUE.pack(scan, 0, 0, 0)
        assert (await other.call(Opcode.RANGE_SCAN_CONTINUE, extras=extras)).status == Status.NOT_FOUND
        assert (await other.call(Opcode.RANGE_SCAN_CANCEL, extras=scan)).status == Status.NOT_FOUND
        assert await helper.login("reader", "reader") == 0
        reply = await helper.call(Opcode.RANGE_SCAN_CONTINUE, extras=extras)
        assert (reply.status, b"secret" in reply.value) == (Status.SCAN_COMPLETE, True)


async def test_a_snapshot_of_another_bucket_is_not_there(service) -> None:
    async with service.connect() as boss, service.connect() as other:
        assert await boss.login("boss", "boss") == 0
        snapshot = json.loads((await boss.call(Opcode.PREPARE_SNAPSHOT)).value)["uuid"].encode()
        assert await other.login("elsewhere", "elsewhere") == 0
        assert (await other.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        wanted = json.dumps({"id": 1, "offset": "0", "length": "16"}).encode()
        assert (await other.call(Opcode.GET_FILE_FRAGMENT, key=snapshot, value=wanted)).status == Status.NOT_FOUND
        assert (await other.call(Opcode.RELEASE_SNAPSHOT, key=snapshot)).status == Status.NOT_FOUND
        reply = await boss.call(Opcode.GET_FILE_FRAGMENT, key=snapshot, value=wanted)
        assert (reply.status, len(reply.value)) == (0, 16)
        assert (await boss.call(Opcode.RELEASE_SNAPSHOT, key=snapshot)).status == 0


async def test_the_connections_say_who_is_there(service) -> None:
    async with service.connect() as raw, service.connect() as stranger:
        await stranger.call(Opcode.VERSION)
        assert await raw.login("watcher", "watcher") == 0
        await raw.send(encode_request(Opcode.STAT, key=b"connections"))
        seen = set()
        while (reply := await raw.receive()).key:
            seen.add(json.loads(reply.value)["user"])
        assert seen == {"watcher", None}


async def test_a_value_that_is_too_big_from_one_who_may_not_write(service) -> None:
    async with service.connect() as raw, service.connect() as boss:
        assert await boss.login("boss", "boss") == 0
        await boss.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
        assert await raw.login("reader", "reader") == 0
        size = 20 * 1024 * 1024 + 1
        header = struct.pack(">BBHBBHLLQ", 0x80, Opcode.SET, 1, 8, 0, 0, 9 + size, 0, 0)
        await raw.send(header + EXTRAS + b"k" + bytes(size))
        assert (await raw.receive()).status == Status.TOO_BIG
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"v"


@pytest.mark.parametrize("group", ["buckets", "connections", "range-scans", "snapshots", "tasks"])
async def test_what_goes_on_in_all_buckets_is_not_for_those_of_one(service, group: str) -> None:
    for name, status in (("watcher", 0), ("local watcher", Status.NO_ACCESS), ("local boss", Status.NO_ACCESS)):
        async with service.connect() as raw:
            assert await raw.login(name, name) == 0
            assert (await raw.call(Opcode.STAT, key=group.encode())).status == status


async def test_listing_keys_takes_the_role_read(service) -> None:
    for name, status in (("watcher", Status.NO_ACCESS), ("boss", 0)):
        async with service.connect() as raw:
            assert await raw.login(name, name) == 0
            assert (await raw.call(Opcode.STAT, key=b"keys")).status == status
