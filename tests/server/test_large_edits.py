"""Changes of large documents: in worker threads, and what other requests see of them."""

from __future__ import annotations

import json
import struct
import threading
from contextlib import AsyncExitStack, nullcontext

import pytest
import trio

from support.subdocument import BOTH_ENGINES, put, run_with, single
from trio_spool.mcbp import DataType, Feature, Opcode, PathFlag, Status, encode_request
from trio_spool.server.commands import documents

EXTRAS = bytes(8)
PAD = b"x" * 20_000
LARGE = b'{"pad":"%b","n":1}' % PAD
UPSERT, COUNTER, GET = Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_GET


@pytest.fixture(params=BOTH_ENGINES)
async def service(request, tmp_path):
    async with run_with(request.param, tmp_path) as served:
        yield served


@pytest.fixture(params=[False, True], ids=["ordered", "unordered"])
async def sub(raw, request):
    await raw.hello(Feature.XATTR, Feature.JSON, Feature.XERROR, *([Feature.UNORDERED_EXECUTION] if request.param else []))
    await put(raw, LARGE)
    return raw


async def value_of(raw, key: bytes = b"k") -> tuple[bytes, int]:
    reply = await raw.call(Opcode.GET, key=key)
    return reply.value, reply.datatype


async def answers(raw, *frames: bytes) -> list:
    await raw.send(*frames, encode_request(Opcode.NOOP, opaque=99))
    replies = []
    while (reply := await raw.receive()).opaque != 99:
        replies.append(reply)
    return sorted(replies, key=lambda reply: reply.opaque)


async def test_what_follows_sees_the_change(sub) -> None:
    replies = await answers(
        sub,
        single(COUNTER, b"n", b"1", opaque=1),
        single(GET, b"n", opaque=2),
        encode_request(Opcode.NOOP, opaque=20),  # a look-up is no barrier: where commands overlap, it may see what comes after it
        encode_request(Opcode.GET, key=b"k", opaque=3),
        single(COUNTER, b"n", b"1", opaque=4),
        encode_request(Opcode.APPEND, key=b"k", value=b" ", opaque=5),
        encode_request(Opcode.GET, key=b"k", opaque=6),
        encode_request(Opcode.DELETE, key=b"k", opaque=7),
        single(COUNTER, b"n", b"1", opaque=8),
    )
    assert [reply.status for reply in replies] == [0] * 7 + [Status.NOT_FOUND, 0]
    assert [reply.value for reply in replies[:4]] == [b"2", b"2", LARGE[:-2] + b"2}", b"3"]
    assert (replies[5].value, replies[5].datatype) == (LARGE[:-2] + b"3} ", DataType.JSON)


async def test_a_large_value_in_a_pipeline_and_its_edit(sub) -> None:
    """What a request before it stores is known to be large, though it is not stored yet."""
    await put(sub, b"{}")
    replies = await answers(
        sub,
        encode_request(Opcode.SET, key=b"k", value=LARGE, extras=EXTRAS, opaque=1),
        single(COUNTER, b"n", b"1", opaque=2),
        single(UPSERT, b"m", b'"%b"' % PAD, opaque=3),
        encode_request(Opcode.GET, key=b"k", opaque=4),
    )
    assert [reply.status for reply in replies] == [0] * 4
    assert replies[3].value == b'%b2,"m":"%b"}' % (LARGE[:-2], PAD)


async def test_a_large_value_for_a_small_document(sub) -> None:
    await put(sub, b'{"a":1}')
    (reply,) = await answers(sub, single(UPSERT, b"b", b'"%b"' % PAD))
    assert reply.status == 0
    assert await value_of(sub) == (b'{"a":1,"b":"%b"}' % PAD, DataType.JSON)


@pytest.mark.parametrize("value, datatype", [(b"[%b1]" % (b"1," * 20_000), 1), (b"[%b1" % (b"1," * 20_000), 0), (PAD, 0)])
async def test_json_is_detected_in_values_of_any_size(sub, value: bytes, datatype: int) -> None:
    await put(sub, value)
    assert await value_of(sub) == (value, datatype)
    replies = await answers(
        sub,
        *(
            encode_request(Opcode.SETQ, key=b"key %d" % number, value=value if number % 2 else b"{}", extras=EXTRAS)
            for number in range(6)
        ),
    )
    assert replies == []
    for number in range(6):
        assert await value_of(sub, b"key %d" % number) == ((value, datatype) if number % 2 else (b"{}", 1))


async def test_datatypes_of_appended_values_and_counters(sub) -> None:
    await put(sub, b"[1")
    await sub.call(Opcode.APPEND, key=b"k", value=b",2]")
    assert await value_of(sub) == (b"[1,2]", DataType.JSON)
    await sub.call(Opcode.PREPEND, key=b"k", value=b"x")
    assert await value_of(sub) == (b"x[1,2]", 0)
    await sub.call(Opcode.INCREMENT, key=b"counter", extras=struct.pack(">QQL", 1, 5, 0))
    assert await value_of(sub, b"counter") == (b"5", DataType.JSON)
    await put(sub, b"007", b"counter")
    await sub.call(Opcode.INCREMENT, key=b"counter", extras=struct.pack(">QQL", 1, 5, 0))
    assert await value_of(sub, b"counter") == (b"8", DataType.JSON)


async def test_clients_that_edit_one_document_wait_for_each_other(service, sub, monkeypatch) -> None:
    """None of them has to plan again."""
    plan, plans = documents.plan_in_thread, []

    def counted_in_thread(operation, item, rest):
        plans.append(None)
        return plan(operation, item, rest)

    monkeypatch.setattr(documents, "plan_in_thread", counted_in_thread)

    async def count(times: int) -> None:
        async with service.connect() as raw:
            for _ in range(times):
                await raw.send(single(COUNTER, b"n", b"1"))
                assert (await raw.receive()).status == 0

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(count, 5)
    assert json.loads((await value_of(sub))[0])["n"] == 21
    assert len(plans) == 20


async def test_few_very_large_documents_are_edited_at_a_time(run_service, monkeypatch, until) -> None:
    """Smaller ones do not wait for them."""
    plan, at_work, go_on = documents.plan_in_thread, set(), threading.Event()

    def held_in_thread(operation, item, rest):
        if len(item.value) > 1024 * 1024:
            at_work.add(operation.key)
            assert go_on.wait(20)
        return plan(operation, item, rest)

    monkeypatch.setattr(documents, "resting_in_thread", lambda: nullcontext(lambda: None))
    monkeypatch.setattr(documents, "plan_in_thread", held_in_thread)
    async with run_service() as service, AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(service.connect()) for _ in range(5)]
        for number, raw in enumerate(raws):
            pad = PAD * (60 if number < 4 else 1)
            await put(raw, b'{"pad":"%b","n":1}' % pad, b"key %d" % number)
        frames = [
            encode_request(COUNTER, key=b"key %d" % number, extras=struct.pack(">HB", 1, 0), value=b"n1") for number in range(5)
        ]
        for raw, frame in zip(raws[:4], frames[:4], strict=True):
            await raw.send(frame)
        await until(lambda: len(at_work) == 2)
        await raws[4].send(frames[4])
        assert (await raws[4].receive()).value == b"2"
        assert len(at_work) == 2
        go_on.set()
        for raw in raws[:4]:
            assert (await raw.receive()).value == b"2"


async def test_a_document_that_others_always_store_is_a_temporary_failure(service, sub, monkeypatch) -> None:
    """Each time that the edit is planned, another client stores something else."""
    plan, bucket = documents.plan_in_thread, service.inside.buckets.default
    tries = []

    def plan_late_in_thread(operation, item, rest):
        planned = plan(operation, item, rest)
        tries.append(threading.get_ident())
        trio.from_thread.run(put, other, LARGE[:-1] + b',"t":%d}' % len(tries))
        return planned

    async with service.connect() as other:
        monkeypatch.setattr(documents, "plan_in_thread", plan_late_in_thread)
        (reply,) = await answers(sub, single(COUNTER, b"n", b"1"))
        assert reply.status == Status.TEMPORARY_FAILURE
        assert 1 < len(tries) < 100
        plans = iter([plan_late_in_thread, plan])
        monkeypatch.setattr(documents, "plan_in_thread", lambda *arguments: next(plans)(*arguments))
        (reply,) = await answers(sub, single(COUNTER, b"n", b"1"))
        assert (reply.status, reply.value) == (0, b"2")
    assert json.loads((await value_of(sub))[0])["t"] == len(tries)
    assert len(bucket.turns) == 0


async def test_a_large_edit_ends_when_its_client_is_dropped(service, sub, until, monkeypatch) -> None:
    """As when a service stops and its drain timeout has passed."""
    began, go_on = threading.Event(), threading.Event()
    real, ended = documents.plan_in_thread, []

    def plan_in_thread(operation, item, rest):
        began.set()
        assert go_on.wait(20)
        try:
            while True:
                rest()
        finally:
            ended.append(True)
        return real(operation, item, rest)

    monkeypatch.setattr(documents, "plan_in_thread", plan_in_thread)
    async with service.connect() as other:
        await other.send(single(COUNTER, b"n", b"1"))
        assert await trio.to_thread.run_sync(began.wait, 20)
    go_on.set()
    await until(lambda: ended == [True])
    assert (await value_of(sub))[0] == LARGE


async def test_too_deep(sub) -> None:
    deep = b"[" * 513 + b"]" * 513
    await put(sub, deep)
    assert await value_of(sub) == (deep, 0)
    (reply,) = await answers(sub, single(GET, b"[0]"))
    assert reply.status == Status.SUBDOC_DOC_TOO_DEEP
    await put(sub, b"{}")
    (reply,) = await answers(sub, single(UPSERT, b"a", deep[1:-1]))
    assert reply.status == Status.SUBDOC_VALUE_TOO_DEEP


async def test_macros_of_the_document_as_it_was(sub) -> None:
    for value in (b"{}", LARGE):
        cas = await put(sub, value)
        wanted = {
            b"a": (b"$document.CAS", f"0x{cas:016x}"), b"b": (b"$document.value_bytes", len(value)),
            b"c": (b"$document.datatype", None), b"d": (b"$document", None),
        }  # fmt: skip
        for name, (macro, expected) in wanted.items():
            await put(sub, value)
            frame = single(UPSERT, name, b'"${%b}"' % macro, PathFlag.XATTR | PathFlag.EXPAND_MACROS)
            before = (await answers(sub, single(GET, macro, flags=PathFlag.XATTR)))[0].value
            (reply,) = await answers(sub, frame)
            assert reply.status == 0
            (stored,) = await answers(sub, single(GET, name, flags=PathFlag.XATTR))
            assert stored.value == before
            if expected is not None and name == b"b":
                assert json.loads(stored.value) == expected
    for unknown in (b"$document.none", b"$documents", b"$vbucket", b"$XTOC", b"Mutation.none"):
        frame = single(UPSERT, b"e", b'"${%b}"' % unknown, PathFlag.XATTR | PathFlag.EXPAND_MACROS)
        assert (await answers(sub, frame))[0].status == Status.SUBDOC_XATTR_UNKNOWN_MACRO
