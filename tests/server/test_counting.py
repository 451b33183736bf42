"""What each command counts as in the statistics: all counters, of each command and each way in which it can end."""

from __future__ import annotations

import struct

import pytest

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Feature, Opcode, Status, encode_request

# These grow with whatever is said.
NOT_COMPARED = frozenset({b"bytes_read", b"bytes_written"})
COUNTERS = frozenset(
    {
        b"total_connections", b"rejected_connections", b"cmd_get", b"get_hits", b"get_misses", b"cmd_set", b"cmd_touch",
        b"touch_hits", b"touch_misses", b"cmd_flush", b"delete_hits", b"delete_misses", b"incr_hits", b"incr_misses",
        b"decr_hits", b"decr_misses", b"cas_hits", b"cas_misses", b"cas_badval", b"auth_cmds", b"auth_errors", b"total_items",
        b"bad_requests", b"streams", b"stream_failures", b"command_failures",
    }
)  # fmt: skip
EXTRAS = bytes(8)
TTL = struct.pack(">L", 100)
LARGE = b"[%s1]" % (b"1," * 40_000)
STORED = {b"hit": b"v", b"number": b"10", b"document": b'{"a":1}', b"large": LARGE}


def arithmetic(expiry: int = 0xFFFFFFFF) -> bytes:
    return struct.pack(">QQL", 1, 5, expiry)


def sub(opcode: int, key: bytes, path: bytes, value: bytes = b"", **kwargs) -> bytes:
    return encode_request(opcode, key=key, extras=struct.pack(">HB", len(path), 0), value=path + value, **kwargs)


def get(opcode: int, key: bytes) -> bytes:
    return encode_request(opcode, key=key)


def gat(opcode: int, key: bytes) -> bytes:
    return encode_request(opcode, key=key, extras=TTL)


def store(opcode: int, key: bytes, cas: int = 0) -> bytes:
    return encode_request(opcode, key=key, value=b"w", extras=EXTRAS, cas=cas)


def concatenate(opcode: int, key: bytes, cas: int = 0) -> bytes:
    return encode_request(opcode, key=key, value=b"w", cas=cas)


def count(opcode: int, key: bytes, expiry: int = 0xFFFFFFFF) -> bytes:
    return encode_request(opcode, key=key, extras=arithmetic(expiry))


HIT = {"cmd_get": 1, "get_hits": 1}
MISS = {"cmd_get": 1, "get_misses": 1}
TOUCH_HIT = {"cmd_touch": 1, "touch_hits": 1}
TOUCH_MISS = {"cmd_touch": 1, "touch_misses": 1}
SET = {"cmd_set": 1, "total_items": 1}
FAILED = {"cmd_set": 1}
WRONG = 1  # a CAS that no item has
CHANGE = encode_request(Opcode.DELETEQ, key=b"hit")
CASES: dict[str, tuple[bytes, dict[str, int]]] = {
    **{f"{opcode.name} hit": (get(opcode, b"hit"), HIT) for opcode in (Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ)},
    **{f"{opcode.name} miss": (get(opcode, b"no"), MISS) for opcode in (Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ)},
    **{f"{opcode.name} hit": (gat(opcode, b"hit"), HIT | TOUCH_HIT) for opcode in (Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ)},
    **{f"{opcode.name} miss": (gat(opcode, b"no"), MISS | TOUCH_MISS) for opcode in (Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ)},
    "a run of GETs": (
        (get(Opcode.GET, b"hit") + get(Opcode.GET, b"no")) * 10, {"cmd_get": 20, "get_hits": 10, "get_misses": 10}
    ),
    "a run of GETs of keys of one length": (
        get(Opcode.GET, b"hit") * 10 + get(Opcode.GET, b"non") * 5, {"cmd_get": 15, "get_hits": 10, "get_misses": 5}
    ),
    "GET behind a change": (CHANGE + get(Opcode.GET, b"hit") + get(Opcode.GET, b"number"),
                            {"cmd_get": 2, "get_hits": 1, "get_misses": 1, "delete_hits": 1}),
    "TOUCH hit": (gat(Opcode.TOUCH, b"hit"), TOUCH_HIT),
    "TOUCH miss": (gat(Opcode.TOUCH, b"no"), TOUCH_MISS),
    "GET_META": (get(Opcode.GET_META, b"hit") + get(Opcode.GET_META, b"no"), {}),
    "GET_LOCKED and UNLOCK_KEY": (get(Opcode.GET_LOCKED, b"hit") + encode_request(Opcode.UNLOCK_KEY, key=b"hit", cas=1), {}),
    **{f"{opcode.name} new": (store(opcode, b"no"), SET) for opcode in (Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.ADDQ)},
    **{f"{opcode.name} old": (store(opcode, b"hit"), SET) for opcode in (Opcode.SET, Opcode.REPLACE, Opcode.REPLACEQ)},
    "ADD old": (store(Opcode.ADD, b"hit"), FAILED),
    "REPLACE new": (store(Opcode.REPLACE, b"no"), FAILED),
    **{f"{opcode.name} with a wrong CAS": (store(opcode, b"hit", WRONG), FAILED | {"cas_badval": 1})
       for opcode in (Opcode.SET, Opcode.SETQ, Opcode.REPLACE)},
    "SET with a CAS new": (store(Opcode.SET, b"no", WRONG), FAILED | {"cas_misses": 1}),
    **{f"{opcode.name} hit": (concatenate(opcode, b"hit"), SET)
       for opcode in (Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND, Opcode.PREPENDQ)},
    **{f"{opcode.name} miss": (concatenate(opcode, b"no"), FAILED)
       for opcode in (Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND, Opcode.PREPENDQ)},
    "APPEND with a wrong CAS": (concatenate(Opcode.APPEND, b"hit", WRONG), FAILED | {"cas_badval": 1}),
    "DELETE hit": (get(Opcode.DELETE, b"hit"), {"delete_hits": 1}),
    "DELETEQ miss": (get(Opcode.DELETEQ, b"no"), {"delete_misses": 1}),
    "INCREMENT hit": (count(Opcode.INCREMENT, b"number"), {"incr_hits": 1}),
    "INCREMENTQ miss": (count(Opcode.INCREMENTQ, b"no"), {"incr_misses": 1}),
    "INCREMENT of a text": (count(Opcode.INCREMENT, b"hit"), {"incr_hits": 1}),
    "INCREMENT new": (count(Opcode.INCREMENT, b"no", 0), {"incr_hits": 1}),
    "DECREMENTQ hit": (count(Opcode.DECREMENTQ, b"number"), {"decr_hits": 1}),
    "DECREMENT miss": (count(Opcode.DECREMENT, b"no"), {"decr_misses": 1}),
    "FLUSH": (encode_request(Opcode.FLUSH), {"cmd_flush": 1}),
    "FLUSHQ": (encode_request(Opcode.FLUSHQ), {"cmd_flush": 1}),
    "SUBDOC_GET hit": (sub(Opcode.SUBDOC_GET, b"document", b"a"), HIT),
    "SUBDOC_GET miss": (sub(Opcode.SUBDOC_GET, b"no", b"a"), MISS),
    "SUBDOC_EXISTS in what is no document": (sub(Opcode.SUBDOC_EXISTS, b"hit", b"a"), HIT),
    "SUBDOC_GET in a large document": (sub(Opcode.SUBDOC_GET, b"large", b"[1]"), HIT | {"streams": 1}),
    "SUBDOC_DICT_UPSERT": (sub(Opcode.SUBDOC_DICT_UPSERT, b"document", b"a", b"2"), SET),
    "SUBDOC_DICT_UPSERT miss": (sub(Opcode.SUBDOC_DICT_UPSERT, b"no", b"a", b"2"), FAILED),
    "SUBDOC_DICT_UPSERT with a wrong CAS": (
        sub(Opcode.SUBDOC_DICT_UPSERT, b"document", b"a", b"2", cas=WRONG), FAILED | {"cas_badval": 1}
    ),
    "GET_KEYS": (encode_request(Opcode.GET_KEYS), {"streams": 1}),
    "GET_RANDOM_KEY": (encode_request(Opcode.GET_RANDOM_KEY), {"streams": 1}),
    "NOOP": (encode_request(Opcode.NOOP), {}),
    "an opcode that is not known": (encode_request(0x77), {"bad_requests": 1}),
    "a value that is too big": (
        encode_request(Opcode.ADD, key=b"hit", value=bytes(100_001), extras=EXTRAS), {"bad_requests": 1}
    ),
}  # fmt: skip


async def counts(raw) -> dict[str, int]:
    rows = await raw.stat()
    assert rows.keys() >= COUNTERS | NOT_COMPARED
    return {name.decode(): int(rows[name]) for name in COUNTERS}


async def grown(raw, before: dict[str, int]) -> dict[str, int]:
    """Return what has grown since `counts`, but for what the statistics themselves count as."""
    found = {name: value - before[name] for name, value in (await counts(raw)).items() if value != before[name]}
    found["streams"] -= 1
    return {name: value for name, value in found.items() if value}


async def settle(raw, frames: bytes) -> None:
    """Send requests, and read all that is answered."""
    await raw.send(frames, encode_request(Opcode.NOOP, opaque=0xE0D))
    while (await raw.receive()).opaque != 0xE0D:
        pass


@pytest.mark.parametrize("case", CASES)
async def test_what_it_counts_as(raw, case: str) -> None:
    frames, expected = CASES[case]
    for key, value in STORED.items():
        assert (await raw.call(Opcode.SET, key=key, value=value, extras=EXTRAS)).status == 0
    before = await counts(raw)
    await settle(raw, frames)
    assert await grown(raw, before) == expected


async def test_what_breaks_the_rules(service, raw) -> None:
    before = await counts(raw)
    async with service.connect() as other:
        assert (await other.call(Opcode.DELETE, key=b"hit", extras=b"\1")).status == Status.INVALID
        assert await other.closed()
    async with service.connect() as other:
        await other.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await other.closed()
    async with service.connect() as other:
        await other.send(encode_request(Opcode.NOOP), b"GET / HTTP/1.1\r\n\r\n")
        assert (await other.receive()).status == 0
        assert await other.closed()
    assert await grown(raw, before) == {"total_connections": 3, "bad_requests": 3}


async def test_the_right_cas(raw) -> None:
    before = await counts(raw)
    cas = 0
    for opcode in (Opcode.SET, Opcode.SET, Opcode.REPLACE, Opcode.APPEND):
        extras = b"" if opcode == Opcode.APPEND else EXTRAS
        reply = await raw.call(opcode, key=b"k", value=b"v", extras=extras, cas=cas)
        assert reply.status == 0
        cas = reply.cas
    assert await grown(raw, before) == {"cmd_set": 4, "total_items": 4, "cas_hits": 3}


async def test_logins(run_service, tmp_path) -> None:
    write_users(tmp_path / "users.json", user("boss", *Role, password="right"))
    async with run_service(users=tmp_path / "users.json") as service, service.connect() as raw:
        assert await raw.login("boss", "right") == 0
        before = await counts(raw)
        assert await raw.login("boss", "wrong") == Status.AUTH_ERROR
        assert await raw.login("boss", "right") == 0
        assert await grown(raw, before) == {"auth_cmds": 2, "auth_errors": 1, "streams": 2}


async def test_timings_count_quiet_forms_with_the_loud_ones(raw) -> None:
    await raw.hello(Feature.XERROR)
    await settle(raw, get(Opcode.GET, b"hit") * 20 + get(Opcode.GETQ, b"hit") * 3 + store(Opcode.SETQ, b"no") * 2)
    await settle(raw, encode_request(0x77) + encode_request(Opcode.GET_KEYS))
    rows = await raw.stat(b"timings")
    counted = {name.removesuffix(b"_count").decode(): int(value) for name, value in rows.items() if name.endswith(b"_count")}
    assert counted == {"get": 23, "set": 2, "hello": 1, "noop": 2, "unknown": 1, "get_keys": 1}
