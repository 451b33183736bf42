"""Servers that play any bytes: whatever a client receives, a call returns or raises a `ClientError`, in bounded time and memory."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import google_crc32c
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from support.replies import reply_to
from trio_spool.client import (
    AnswerTimeoutError,
    Client,
    ClientError,
    ConnectionLostError,
    FragmentRequest,
    ServerError,
    SnapshotRequirements,
    open_client,
)
from trio_spool.client._login import log_in
from trio_spool.client._open import client_on
from trio_spool.client._scans import MAX_ANSWER
from trio_spool.mcbp import DOCUMENTS_EXTRAS, KEYS_EXTRAS, Feature, Opcode, Status, encode_response, pack_documents, pack_keys

TIMEOUT = 30.0
LOOK_AHEAD = 1000
Call = Callable[[Client], Awaitable[Any]]


async def taken(answers: Any) -> list[Any]:
    """Take everything from a scan or from statistics, but for a hostile stream without an end."""
    async with answers as found:
        return [one async for one in found]


def ok(opcode: Opcode, **fields: Any) -> bytes:
    return encode_response(opcode, fields.pop("status", Status.OK), 0, **fields)


FLAGS = bytes(4)
RECORDS = [(b"key%d" % number, b"value", 1, 0, 0, 5, 6) for number in range(3)]
COLLECTIONS = {"uid": "1", "scopes": [{"uid": "0", "name": "_default", "collections": [{"uid": "0", "name": "_default"}]}]}
MANIFEST = {"uuid": "u", "files": [{"id": 1, "path": "data.mdb", "size": "10", "sha512": "0" * 128}]}
CREATED = ok(Opcode.RANGE_SCAN_CREATE, value=b"u" * 16)
DOCUMENTS = b"".join(pack_documents(RECORDS))
CONTINUED = partial(ok, Opcode.RANGE_SCAN_CONTINUE)

# Every call of a client, with what a server answers to each of its requests.
CALLS: dict[str, tuple[Call, list[bytes]]] = {
    "get": (lambda client: client.get(b"k"), [ok(Opcode.GET, extras=FLAGS, value=b"v", cas=1)]),
    "set": (lambda client: client.set(b"k", b"v"), [ok(Opcode.SET, cas=1)]),
    "add": (lambda client: client.add(b"k", b"v"), [ok(Opcode.ADD, cas=1)]),
    "replace": (lambda client: client.replace(b"k", b"v"), [ok(Opcode.REPLACE, cas=1)]),
    "append": (lambda client: client.append(b"k", b"v"), [ok(Opcode.APPEND, cas=1)]),
    "prepend": (lambda client: client.prepend(b"k", b"v"), [ok(Opcode.PREPEND, cas=1)]),
    "delete": (lambda client: client.delete(b"k"), [ok(Opcode.DELETE)]),
    "increment": (lambda client: client.increment(b"k"), [ok(Opcode.INCREMENT, value=bytes(8))]),
    "decrement": (lambda client: client.decrement(b"k"), [ok(Opcode.DECREMENT, value=bytes(8))]),
    "touch": (lambda client: client.touch(b"k", 1), [ok(Opcode.TOUCH)]),
    "gat": (lambda client: client.get_and_touch(b"k", 1), [ok(Opcode.GAT, extras=FLAGS, value=b"v")]),
    "flush": (lambda client: client.flush(), [ok(Opcode.FLUSH)]),
    "noop": (lambda client: client.noop(), [ok(Opcode.NOOP)]),
    "version": (lambda client: client.version(), [ok(Opcode.VERSION, value=b"1.0")]),
    "hello": (lambda client: client.hello("test", (Feature.XERROR,)), [ok(Opcode.HELLO, value=b"\0\7")]),
    "stat": (
        lambda client: taken(client.stat("keys")),
        [ok(Opcode.STAT, key=b"name", value=b"value") * 3 + ok(Opcode.STAT)],
    ),
    "scan": (
        lambda client: taken(client.scan()),
        [
            CREATED,
            CONTINUED(extras=DOCUMENTS_EXTRAS, value=DOCUMENTS)
            + CONTINUED(status=Status.SCAN_MORE, extras=DOCUMENTS_EXTRAS, value=DOCUMENTS.replace(b"key", b"kez")),
            CONTINUED(status=Status.SCAN_COMPLETE),
        ],
    ),
    "keys of a collection": (
        lambda client: taken(client.scan(collection="s.c", keys_only=True, requirements=SnapshotRequirements(vbucket_uuid=1, seqno=1, timeout=3))),
        [
            ok(Opcode.GET_COLLECTION_ID, extras=bytes(12)),
            CREATED,
            CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"".join(pack_keys(RECORDS))),
        ],
    ),
    "get_keys": (lambda client: client.get_keys(b"", 3), [ok(Opcode.GET_KEYS, value=b"\0\3key\0\0")]),
    "prepare_snapshot": (
        lambda client: client.prepare_snapshot(),
        [ok(Opcode.PREPARE_SNAPSHOT, value=json.dumps(MANIFEST).encode())],
    ),
    "release_snapshot": (lambda client: client.release_snapshot("u"), [ok(Opcode.RELEASE_SNAPSHOT)]),
    "fragment": (
        lambda client: client.fragment("u", FragmentRequest(id=1, offset=0, length=4, checksum_length=2)),
        [ok(Opcode.GET_FILE_FRAGMENT, value=(bytes(2) + google_crc32c.value(bytes(2)).to_bytes(4, "big")) * 2)],
    ),
    "select_bucket": (lambda client: client.select_bucket("b"), [ok(Opcode.SELECT_BUCKET)]),
    "list_buckets": (lambda client: client.list_buckets(), [ok(Opcode.LIST_BUCKETS, value=b"default other")]),
    "create_bucket": (lambda client: client.create_bucket("b"), [ok(Opcode.CREATE_BUCKET)]),
    "delete_bucket": (lambda client: client.delete_bucket("b"), [ok(Opcode.DELETE_BUCKET)]),
    "change_collections": (
        lambda client: client.change_collections(lambda old: old.with_collection("s.c")),
        [ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps(COLLECTIONS).encode()), ok(Opcode.SET_COLLECTIONS_MANIFEST)],
    ),
    "log in": (
        lambda client: log_in(client, "ann", "pencil", encrypted=True),
        [ok(Opcode.SASL_AUTH)],
    ),
}  # fmt: skip


async def play(call: Call, answers: list[bytes], ending: str) -> Any:
    """Return what a call returns or raises whose peer answers each request with the next of these bytes, and then closes or is silent."""
    left, right = memory_stream_pair()

    async def answer() -> None:
        try:
            for one in answers:
                request = bytes(await right.receive_some(65536))
                await right.send_all(reply_to(request, one))
            if ending == "closes":
                await right.aclose()
            while await right.receive_some(65536):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has closed it

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        result: Any
        try:
            async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
                result = await call(client)
        except ClientError as exc:
            result = exc
        nursery.cancel_scope.cancel()
    return result


def outcome(call: Call, answers: list[bytes], ending: str = "is silent") -> tuple[Any, float]:
    """Return what a call returns or raises, and after how many seconds, of a clock that runs ahead while nothing happens."""
    clock = MockClock(autojump_threshold=0)

    async def main() -> tuple[Any, float]:
        started = trio.current_time()
        result = await play(call, answers, ending)
        return result, trio.current_time() - started

    return trio.run(main, clock=clock)


@pytest.mark.parametrize("name", CALLS)
def test_a_server_that_plays_by_the_rules(name: str) -> None:
    result, _ = outcome(*CALLS[name])
    assert not isinstance(result, ClientError), result


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Draw a call and the answers to it, of which one is not what it should be."""
    name = draw(st.sampled_from(sorted(CALLS)))
    answers = list(CALLS[name][1])
    number = draw(st.integers(0, len(answers) - 1))
    answers[number] = draw(st.one_of([strategy(answers[number]) for strategy in STRATEGIES]))
    return name, answers


def bytes_changed(frame: bytes) -> st.SearchStrategy[bytes]:
    def change(changes: list[tuple[int, int]]) -> bytes:
        changed = bytearray(frame)
        for place, value in changes:
            changed[place] = value
        return bytes(changed)

    place = st.one_of(st.integers(0, min(len(frame), 24) - 1), st.integers(0, len(frame) - 1))
    return st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4).map(change)


def another_body(frame: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(
        encode_response,
        st.just(frame[1]),
        st.one_of(st.just(0), st.sampled_from(Status), st.integers(0, 0xFFFF)),
        st.just(0),
        key=st.binary(max_size=300),
        extras=st.binary(max_size=20),
        value=st.one_of(st.binary(max_size=300), VALUES),
    )


# Values that mean something to somebody.
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["0", "f" * 20, "-1", "1_0"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["uid", "uuid", "scopes", "collections", "name", "maxTTL", "files", "id", "path", "size"]), inner
        ),
    ),
    max_leaves=20,
)
VALUES = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps({"error": {"context": value}}).encode()),
    st.builds(
        lambda what, times: what * times,
        st.sampled_from([b"[", b'{"error":', b"\x1b[2J", b" ", b"9", b"\xff"]),
        st.integers(1, 5000),
    ),
)
STRATEGIES: list[Callable[[bytes], st.SearchStrategy[bytes]]] = [
    bytes_changed,
    another_body,
    lambda frame: st.integers(0, len(frame)).map(lambda size: frame[:size]),
    lambda frame: st.integers(2, 50).map(lambda times: frame * times),
    lambda frame: st.binary(max_size=100),
    lambda frame: st.binary(max_size=100).map(lambda more: frame + more),
]


@given(mutations(), st.sampled_from(["closes", "is silent"]))
def test_any_bytes(mutated: tuple[str, list[bytes]], ending: str) -> None:
    name, answers = mutated
    result, seconds = outcome(CALLS[name][0], answers, ending)
    if isinstance(result, ClientError):
        assert str(result).isprintable() and len(str(result)) < 2000
    # The limit of a snapshot is an hour; every other call has at most three requests.
    assert seconds <= (3600 if name == "prepare_snapshot" else 3 * TIMEOUT + 1)


ESCAPES = "\x1b]0;title\x07\x1b[2J\n\u202e\u2028\x9b31m"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (ESCAPES.encode(), r"\x1b]0;title\x07\x1b[2J\x0a\u202e\u2028\x9b31m"),
        (json.dumps({"error": {"context": ESCAPES}}).encode(), r"\x1b]0;title\x07\x1b[2J\x0a\u202e\u2028\x9b31m"),
        (b'{"error":' * 100_000, '{"error":{"error":'),
        (b"[" * 100_000, "[[["),
        (b'{"error": {"context": ' + b"9" * 5000 + b"}}", '{"error": {"context": 9'),
        (b"x" * 20_000_000, "xxx"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", "Internal error"),
    ],
    ids=range(8),
)
def test_errors_are_one_line_that_fits_on_a_screen(value: bytes, message: str) -> None:
    result, _ = outcome(CALLS["get"][0], [ok(Opcode.GET, status=Status.INTERNAL, value=value)])
    assert isinstance(result, ServerError)
    assert str(result).startswith("get: " + message)
    assert str(result).isprintable() and len(str(result)) < 1100


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("hello", ok(Opcode.HELLO, value=b"\0\7\0"), "features in 3 bytes"),
        ("get", ok(Opcode.GET, extras=b"", value=b"v"), "flags of a value in 0 bytes, not 4"),
        ("gat", ok(Opcode.GAT, extras=bytes(8)), "flags of a value in 8 bytes, not 4"),
        ("increment", ok(Opcode.INCREMENT, value=b"1"), "a number in 1 bytes, not 8"),
        ("list_buckets", ok(Opcode.LIST_BUCKETS, value=b"a " + b"n" * 300), "can't be the name of a bucket"),
        ("list_buckets", ok(Opcode.LIST_BUCKETS, value=b"a .."), "can't be the name of a bucket"),
        ("list_buckets", ok(Opcode.LIST_BUCKETS, value=b"a a"), "twice"),
        ("list_buckets", ok(Opcode.LIST_BUCKETS, value=b"\xff"), "can't be the name of a bucket"),
        ("scan", ok(Opcode.RANGE_SCAN_CREATE, value=b"u" * 15), "named a scan in 15 bytes"),
        ("get_keys", ok(Opcode.GET_KEYS, value=b"\0\1a" * 4), "more than the 3 keys"),
    ],
)  # fmt: skip
def test_answers_of_the_wrong_shape(name: str, answer: bytes, message: str) -> None:
    result, seconds = outcome(CALLS[name][0], [answer])
    assert isinstance(result, ConnectionLostError)
    assert message in str(result)
    assert seconds == 0


def test_features_that_nobody_asked_for_are_not_granted() -> None:
    granted = struct.pack(">3H", Feature.XERROR, Feature.COLLECTIONS, Feature.SNAPPY if hasattr(Feature, "SNAPPY") else 0x0A)
    assert outcome(CALLS["hello"][0], [ok(Opcode.HELLO, value=granted)])[0] == [Feature.XERROR]


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "-1"}, {"uid": "0x1"}, {"uid": "1" * 17}, {"uid": 1}, {"scopes": 5}, {"scopes": [5]},
        {"scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "100000000", "name": "c"}]}]},
        {"scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "0", "name": "n" * 300}]}]},
        {"scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "0", "name": ESCAPES}]}]},
        {"scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "0", "name": "c", "maxTTL": math.inf}]}]},
        {"scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "0", "name": "c"}] * 2}]},
        {"scopes": [{"uid": "0", "name": "s", "collections": []}] * 2},
    ],
    ids=str,
)  # fmt: skip
def test_manifests_of_collections_that_are_none(change: dict[str, Any]) -> None:
    answer = ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps({**COLLECTIONS, **change}).encode())
    result, _ = outcome(CALLS["change_collections"][0], [answer])
    assert isinstance(result, ConnectionLostError)
    assert "manifest" in str(result) and str(result).isprintable()


# A scan


def test_the_answer_to_a_continue_is_bounded() -> None:
    """Frames without an end: the client hangs up, whether it takes the documents or not."""
    frame = CONTINUED(extras=DOCUMENTS_EXTRAS, value=DOCUMENTS + bytes(1_000_000))
    sent = 0

    async def main() -> None:
        nonlocal sent
        left, right = memory_stream_pair()

        async def flood() -> None:
            nonlocal sent
            await right.send_all(reply_to(bytes(await right.receive_some(65536)), CREATED))
            request = bytes(await right.receive_some(65536))
            while sent < 3 * MAX_ANSWER:
                await right.send_all(reply_to(request, frame))
                sent += len(frame)
                await trio.testing.wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            async with client_on(left, LOOK_AHEAD, TIMEOUT) as client, client.scan():
                while sent < 3 * MAX_ANSWER:
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(ConnectionLostError, match="it answered range_scan_continue with more than"):
                    await client.noop()

    trio.run(main)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (CONTINUED(status=Status.SCAN_MORE), "no document came"),
        (CONTINUED(status=Status.SCAN_MORE, extras=KEYS_EXTRAS), "no document came"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\0" * 100_000), "a key has 0 bytes"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\xac\2" + b"k" * 300), "a key has 300 bytes"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\1b\1a"), "out of order"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\1b\1b"), "out of order"),
        (CONTINUED(status=Status.SCAN_MORE, extras=KEYS_EXTRAS, value=b"\1b") * 2, "out of order"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\1z"), "out of the range"),
        (CONTINUED(status=Status.SCAN_COMPLETE, extras=KEYS_EXTRAS, value=b"\5b"), "malformed"),
    ],
    ids=range(9),
)
def test_frames_of_a_scan_that_make_no_sense(frames: bytes, message: str) -> None:
    first, second = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    answers = [CREATED, first, second] if first == second else [CREATED, frames]
    result, _ = outcome(lambda client: taken(client.scan(start=b"a", end=b"y", keys_only=True)), answers)
    assert isinstance(result, ConnectionLostError)
    assert message in str(result)


# Silence


@pytest.mark.parametrize("name", CALLS)
def test_a_silent_server_is_given_up(name: str) -> None:
    call, answers = CALLS[name]
    for number in range(len(answers)):
        limit = 3600 if name == "prepare_snapshot" else TIMEOUT
        if name == "keys of a collection" and number == 1:
            limit += 3  # the scan itself may wait for a sequence number
        result, seconds = outcome(call, answers[:number])
        assert isinstance(result, AnswerTimeoutError)
        assert str(result) == f"the server sent nothing for {limit:g} seconds while a response was due"
        assert limit <= seconds < limit + 1


def test_a_server_that_sends_byte_by_byte_is_given_up() -> None:
    """A response that has begun is no answer yet."""
    frame = ok(Opcode.GET, extras=FLAGS, value=bytes(100_000))

    async def main() -> float:
        left, right = memory_stream_pair()

        async def drip() -> None:
            request = bytes(await right.receive_some(65536))
            for byte in reply_to(request, frame):
                await right.send_all(bytes([byte]))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            started = trio.current_time()
            async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
                with pytest.raises(AnswerTimeoutError):
                    await client.get(b"k")
            nursery.cancel_scope.cancel()
            return trio.current_time() - started

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == TIMEOUT


def test_what_goes_on_is_no_silence() -> None:
    """Long responses and requests take their time, and so does a client that does not take statistics."""
    pause = TIMEOUT * 0.9

    async def main() -> None:
        left, right = memory_stream_pair()

        async def answer() -> None:
            request = bytes(await right.receive_some(65536))
            reply = reply_to(request, ok(Opcode.GET, extras=FLAGS, value=bytes(1_000_000)))
            for start in range(0, len(reply), 65536):
                await trio.sleep(pause)
                await right.send_all(reply[start : start + 65536])
            request = bytes(await right.receive_some(65536))
            await right.send_all(reply_to(request, ok(Opcode.STAT, key=b"name", value=bytes(LOOK_AHEAD))))
            await trio.sleep(pause)
            await right.send_all(reply_to(request, ok(Opcode.STAT)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
                assert len((await client.get(b"k")).value) == 1_000_000
                async with client.stat() as statistics:
                    await trio.sleep(10 * TIMEOUT)
                    assert len([name async for name, _ in statistics]) == 1
                    assert [name async for name, _ in statistics] == []
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_request_that_is_being_sent_is_no_silence() -> None:
    async def main() -> None:
        left, right = memory_stream_pair()
        request = bytearray()

        async def send_slowly(data: bytes | bytearray | memoryview) -> None:
            """Carry about 5 kB a second, and answer a request that is complete."""
            await trio.sleep(len(data) / 5000)
            request.extend(data)
            if len(request) == 24 + int.from_bytes(request[8:12], "big"):
                await right.send_all(reply_to(bytes(request), ok(Opcode.SET, cas=1)))

        left.send_stream.send_all = send_slowly
        async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
            assert await client.set(b"k", bytes(1_000_000)) == 1
        assert trio.current_time() > 5 * TIMEOUT

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_long_limit_ends_with_its_call() -> None:
    """The server has an hour for a snapshot, and 30 seconds for the answer that is due next."""

    async def main() -> None:
        left, right = memory_stream_pair()
        async with client_on(left, LOOK_AHEAD, TIMEOUT) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.prepare_snapshot)
            await trio.testing.wait_all_tasks_blocked()
            request = bytes(await right.receive_some(65536))

            async def answer() -> None:
                await trio.sleep(1000)
                await right.send_all(reply_to(request, CALLS["prepare_snapshot"][1][0]))

            nursery.start_soon(answer)
            started = trio.current_time()
            with pytest.raises(AnswerTimeoutError, match="nothing for 30 seconds"):
                await client.get(b"k")
            assert trio.current_time() - started == 1000 + TIMEOUT

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_long_limit_ends_with_the_first_byte() -> None:
    """A snapshot whose answer has begun is made."""

    async def main() -> None:
        left, right = memory_stream_pair()

        async def answer() -> None:
            request = bytes(await right.receive_some(65536))
            await trio.sleep(1000)
            await right.send_all(reply_to(request, CALLS["prepare_snapshot"][1][0])[:30])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
                with pytest.raises(AnswerTimeoutError, match="nothing for 30 seconds"):
                    await client.prepare_snapshot()
            assert trio.current_time() == 1000 + TIMEOUT

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("opaque", [0, 2, 2**32 - 1])
async def test_replies_with_another_opaque_are_refused(opaque: int) -> None:
    left, right = memory_stream_pair()
    async with client_on(left, LOOK_AHEAD, TIMEOUT) as client:
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await right.receive_some(65536)
                await right.send_all(encode_response(Opcode.GET, 0, opaque, extras=FLAGS, value=b"of another request"))

            nursery.start_soon(answer)
            with pytest.raises(ConnectionLostError, match=f"it answered get with the opaque {opaque} instead of 1"):
                await client.get(b"k")


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
async def test_a_limit_that_is_none(timeout: float) -> None:
    with pytest.raises(ValueError, match="answer_timeout must be more than 0 seconds"):
        async with open_client("127.0.0.1", 1, answer_timeout=timeout):
            raise AssertionError


async def test_connecting_takes_no_longer(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """An address that swallows packets would be waited for for minutes."""

    async def wait(*_: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", wait)
    with pytest.raises(AnswerTimeoutError, match=r"can't connect to \[::1\]:1: nobody answered within 5 seconds"):
        async with open_client("::1", 1, answer_timeout=5):
            raise AssertionError
