"""Sub-document commands in pipelines, and on documents that a worker thread looks into."""

from __future__ import annotations

import pytest

from support.subdocument import BOTH_ENGINES, call, found, lookups, put, run_with, single
from trio_spool.mcbp import Feature, Opcode, PathFlag, Status, encode_request

EXTRAS = bytes(8)
XATTR = PathFlag.XATTR
DOCUMENT = b'{"n":5}'
LOOKUP, GET = Opcode.SUBDOC_MULTI_LOOKUP, Opcode.SUBDOC_GET
UPSERT, COUNTER = Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_COUNTER


@pytest.fixture(params=BOTH_ENGINES)
async def service(request, tmp_path):
    async with run_with(request.param, tmp_path) as served:
        yield served


@pytest.fixture
async def sub(raw):
    await raw.hello(Feature.XATTR, Feature.JSON, Feature.XERROR)
    await put(raw, DOCUMENT)
    return raw


async def test_a_lookup_sees_what_is_before_it_in_a_pipeline(sub) -> None:
    await sub.send(
        single(COUNTER, b"n", b"1", opaque=1),
        lookups((GET, b"n"), opaque=2),
        encode_request(Opcode.SET, key=b"k", value=b'{"n":70}', extras=EXTRAS, opaque=3),
        single(GET, b"n", opaque=4),
        single(COUNTER, b"n", b"1", opaque=5),
        encode_request(Opcode.GET, key=b"k", opaque=6),
        encode_request(Opcode.DELETE, key=b"k", opaque=7),
        lookups((GET, b"n"), opaque=8),
    )
    replies = [await sub.receive() for _ in range(8)]
    assert [reply.opaque for reply in replies] == list(range(1, 9))
    assert [replies[0].value, found(replies[1]), replies[3].value, replies[4].value, replies[5].value] == [
        b"6", [(0, b"6")], b"70", b"71", b'{"n":71}',
    ]  # fmt: skip
    assert replies[7].status == Status.NOT_FOUND


async def test_a_large_document_is_looked_into_by_a_worker(service, sub) -> None:
    counters = service.inside.counters
    for size, jobs in ((15 * 1024, 0), (17 * 1024, 2)):
        value = b'{"pad":"%s","n":1}' % (b"x" * size)
        await put(sub, value)
        hits, streams = counters.get_hits, counters.streams
        assert (await call(sub, single(GET, b"n"))).value == b"1"
        reply = await call(sub, lookups((GET, b"$document.value_bytes", XATTR), (GET, b"n")))
        assert found(reply) == [(0, b"%d" % len(value)), (0, b"1")]
        assert (counters.get_hits, counters.streams) == (hits + 2, streams + jobs)


@pytest.mark.parametrize("unordered", [False, True])
async def test_a_lookup_in_a_large_document_sees_what_is_before_it(raw, unordered: bool) -> None:
    await raw.hello(Feature.XATTR, *([Feature.UNORDERED_EXECUTION] if unordered else []))
    await put(raw, b'{"pad":"%s","n":1}' % (b"x" * 70 * 1024))
    frames = []
    for number in range(10):
        frames += [single(COUNTER, b"n", b"1", opaque=2 * number), single(GET, b"n", opaque=2 * number + 1)]
    await raw.send(*frames, encode_request(Opcode.NOOP))
    replies = [await raw.receive() for _ in range(21)]
    assert replies[20].opcode == Opcode.NOOP
    by_opaque = {reply.opaque: reply for reply in replies[:20]}
    for number in range(10):
        assert by_opaque[2 * number].value == b"%d" % (2 + number)
        # Where commands may overtake one another, a later counter may have run; an earlier one has.
        seen = int(by_opaque[2 * number + 1].value)
        assert seen >= 2 + number if unordered else seen == 2 + number


async def test_a_large_document_that_is_deleted_meanwhile(sub, monkeypatch) -> None:
    await put(sub, b'{"pad":"%s","n":1}' % (b"x" * 70 * 1024))
    await sub.send(encode_request(Opcode.DELETE, key=b"k"), single(GET, b"n"), single(UPSERT, b"a", b"1"))
    assert [(await sub.receive()).status for _ in range(3)] == [0, Status.NOT_FOUND, Status.NOT_FOUND]
