"""What ``stat connections`` says that a connection waits for."""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from support.lines import detect_lines
from support.service import Raw, Served, wait_until
from support.users import ANN, user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Feature, Opcode, RequestDecoder, Status, encode_request
from trio_spool.server.protocols.binary import TABLE

EXTRAS = bytes(8)
LINUX = sys.platform == "linux"


def store(key: bytes, value: bytes = b"v") -> bytes:
    return encode_request(Opcode.SET, key=key, value=value, extras=EXTRAS)


async def said(service: Served, number: int = 1) -> dict[str, Any]:
    """What the statistics say of a connection once nothing moves any more."""
    await wait_all_tasks_blocked(0.005)
    async with service.connect() as watcher:
        return json.loads((await watcher.stat(b"connections %d" % number))[b"%d" % number])


async def stall(service: Served, raw: Raw) -> None:
    """Have a reply streamed until the client would have to read it."""
    for start in range(0, 20_000, 1000):
        frames = [encode_request(Opcode.SETQ, key=b"%0200d" % number, extras=EXTRAS) for number in range(start, start + 1000)]
        await raw.send(*frames)
        await raw.call(Opcode.NOOP)
    raw.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await raw.send(encode_request(Opcode.STAT, key=b"keys"))
    connection = next(iter(service.inside.connections))
    await wait_until(lambda: str(connection.describe()["waits_for"]).startswith("the client"))


async def test_nothing(service, raw) -> None:
    await raw.call(Opcode.NOOP)
    seen = await said(service)
    assert (seen["waits_for"], seen["current"], seen["current_count"]) == ("the next request", [], 0)
    assert (seen["waiting_count"], seen["waiting_commands"], seen["read_ahead"]) == (0, [], 0)
    assert 0 < seen["idle_seconds"] < 60
    if LINUX:
        assert (seen["kernel_in"], seen["kernel_out"]) == (0, 0)


async def test_the_rest_of_a_request(service, raw) -> None:
    await raw.send(store(b"k", b"v" * 1000)[:500])
    seen = await said(service)
    assert (seen["waits_for"], seen["buffered"], seen["waiting_count"]) == ("the rest of a request", 500, 0)


async def test_a_client_that_does_not_read(run_service) -> None:
    async with run_service(window=10_000, batch=1000, look_ahead=1000) as service, service.connect() as raw:
        await stall(service, raw)
        await raw.send(encode_request(Opcode.NOOP), *[encode_request(Opcode.GET, key=b"k")] * 3, store(b"k")[:30])
        seen = await said(service)
        assert [(each["command"], each["waits_for"]) for each in seen["current"]] == [("stat", "the client")]
        assert seen["current"][0]["seconds"] > 0
        assert (seen["waiting_count"], seen["waiting_commands"]) == (4, ["noop", "get", "get", "get"])
        assert seen["read_ahead"] == 24 + 3 * 25 + 30
        assert 0 < seen["spool"]["depth"] <= seen["spool"]["window"] + 2 * 1000  # a batch, and pieces that are not divided
        assert seen["spool"]["client_takes_nothing_for"] > 0
        assert seen["waits_for"].startswith("the client, which has read nothing for 0.")
        assert seen["waits_for"].endswith(" KiB queued and spooled")
        if LINUX:
            assert seen["kernel_out"] > 4096
            assert f"{seen['kernel_out']:,} bytes in the kernel" in seen["waits_for"]


async def test_the_writer(run_service) -> None:
    hooks = Hooks()
    async with run_service(engine=hooks.kind(), max_in_flight=2) as service, service.connect() as raw:
        await raw.call(Opcode.NOOP)
        submitted = []
        submit, hooks.engines[0].submit = hooks.engines[0].submit, lambda *arguments: submitted.append(arguments)
        frames = [store(b"k"), encode_request(Opcode.DELETE, key=b"k"), *[encode_request(Opcode.GET, key=b"k")] * 20]
        await raw.send(*frames)
        await wait_until(lambda: bool(submitted))
        await raw.send(encode_request(Opcode.NOOP))
        seen = await said(service)
        assert seen["waits_for"] == "the writer"
        assert [(each["command"], each["waits_for"]) for each in seen["current"]] == [
            ("set", "the writer"),
            ("delete", "the writer"),
        ]
        assert seen["current"][0]["seconds"] > 0
        assert (seen["waiting_count"], seen["waiting_commands"]) == (20, ["get"] * 10)  # bounded
        if LINUX:
            assert seen["kernel_in"] == 24  # what nobody has read yet
        for arguments in submitted:
            submit(*arguments)
        hooks.engines[0].submit = submit
        assert [(await raw.receive()).opcode for _ in range(23)][-1] == Opcode.NOOP
        assert (await said(service))["waits_for"] == "the next request"


async def test_a_worker(run_service) -> None:
    hooks, release, working = Hooks(local=False), threading.Event(), threading.Event()

    def block() -> None:
        working.set()
        assert release.wait(60)

    async with run_service(engine=hooks.kind(), workers=1) as service, service.connect() as raw, service.connect() as other:
        await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
        hooks.before_get = block
        await raw.send(encode_request(Opcode.GET, key=b"k"))
        await wait_until(working.is_set)
        await other.send(encode_request(Opcode.GET, key=b"k"), encode_request(Opcode.NOOP))
        connections = {connection.number: connection for connection in service.inside.connections}
        await wait_until(lambda: bool(connections[2].describe()["current"]))
        await wait_all_tasks_blocked(0.005)
        at_work, waiting = (connections[number].describe() for number in (1, 2))
        assert (at_work["waits_for"], at_work["current"][0]["waits_for"]) == ("a worker that is at work", "")
        assert (waiting["waits_for"], waiting["current"][0]["command"]) == ("a worker", "get")
        assert waiting["waiting_commands"] == ["noop"]
        release.set()
        assert (await other.receive()).status == Status.OK


async def test_commands_before_it(run_service) -> None:
    async with run_service(window=10_000, batch=1000) as service, service.connect() as raw:
        await raw.hello(Feature.UNORDERED_EXECUTION)
        await stall(service, raw)
        await raw.send(encode_request(Opcode.NOOP))
        connection = next(iter(service.inside.connections))
        expected = [("stat", "the client"), ("noop", "commands before it")]
        await wait_until(lambda: [(each["command"], each["waits_for"]) for each in connection.describe()["current"]] == expected)


async def test_a_login_that_was_refused(run_service, tmp_path) -> None:
    async with run_service(users=write_users(tmp_path / "users.json", ANN)) as service, service.connect() as raw:
        await raw.send(encode_request(Opcode.SASL_AUTH, key=b"NOTHING", value=b"x"))
        connection = next(iter(service.inside.connections))
        await wait_until(lambda: connection.describe().get("waits_for") == "the delay of a refused login")


async def test_another_guest_names_its_commands(run_service) -> None:
    hooks = Hooks()
    async with run_service(engine=hooks.kind(), detect=detect_lines) as service:
        hooks.engines[0].submit = lambda *arguments: None
        async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
            await stream.send_all(b"set a b\n")
            connection = None
            await wait_until(lambda: len(service.inside.connections) == 1)
            connection = next(iter(service.inside.connections))
            await wait_until(lambda: connection.describe().get("waits_for") == "the writer")
            assert [each["command"] for each in connection.describe()["current"]] == ["set"]
        connection.break_off(None)


async def test_the_text_protocol_names_its_commands(run_service) -> None:
    hooks = Hooks()
    async with run_service(engine=hooks.kind(), max_in_flight=2) as service:
        submitted = []
        submit, hooks.engines[0].submit = hooks.engines[0].submit, lambda *arguments: submitted.append(arguments)
        async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
            await stream.send_all(b"set a 0 0 1\r\nb\r\ndelete a\r\nget a\r\nappend a 0 0 1\r\nb\r\nnonsense\r\nget")
            await wait_until(lambda: bool(submitted))
            seen = await said(service)
            assert (seen["waits_for"], [each["command"] for each in seen["current"]]) == ("the writer", ["set", "delete"])
            assert (seen["waiting_count"], seen["waiting_commands"]) == (3, ["get", "append", "unknown"])
            hooks.engines[0].submit = submit
            for arguments in submitted:
                submit(*arguments)
            assert (await stream.receive_some(1000)).startswith(b"STORED")
            connection = next(iter(service.inside.connections))
            await wait_until(lambda: connection.describe()["waits_for"] == "the rest of a request")


async def test_one_connection_or_all(service, raw) -> None:
    async with service.connect() as other:
        await other.call(Opcode.NOOP)
        assert set(await raw.stat(b"connections")) == {b"1", b"2"}
        assert set(await raw.stat(b"connections 2")) == {b"2"}
        assert await raw.stat(b"connections 99") == {}
        await raw.send(encode_request(Opcode.STAT, key=b"connections x"))
        assert (await raw.receive()).status != Status.OK


async def test_who_may_see_others(run_service, tmp_path) -> None:
    users = write_users(
        tmp_path / "users.json", user("all", Role.STATS), user("one", buckets={"default": [Role.STATS]}), user("none", Role.READ)
    )
    async with run_service(users=users) as service:
        for name, allowed in (("all", True), ("one", False), ("none", False)):
            async with service.connect() as raw:
                assert await raw.login(name, "pencil") == 0
                for group in (b"connections", b"connections 1"):
                    await raw.send(encode_request(Opcode.STAT, key=group))
                    reply = await raw.receive()
                    assert (reply.status == Status.OK) == allowed
                    while allowed and reply.key:
                        reply = await raw.receive()


# Frames that wait


FRAMES = [encode_request(opcode, key=key, value=value, extras=extras) for opcode, key, value, extras in (
    (Opcode.GET, b"key", b"", b""), (Opcode.SET, b"k", b"v" * 50, EXTRAS), (Opcode.NOOP, b"", b"", b""), (Opcode.GETQ, b"x", b"", b""),
)]  # fmt: skip


@pytest.mark.parametrize("cut", range(0, sum(map(len, FRAMES)) + 1, 3))
@pytest.mark.parametrize("end", [0, 1, 23, 24, 30])
def test_frames_are_counted_wherever_they_are_divided(cut: int, end: int) -> None:
    """Between what the decoder has and what was read ahead, with a part of another frame at the end."""
    data = b"".join(FRAMES)
    decoder = RequestDecoder(TABLE.shapes)
    decoder.receive_data(data[:cut])
    rest = data[cut:] + FRAMES[1][:end]
    assert decoder.queued(rest, 10) == (4, [Opcode.GET, Opcode.SET, Opcode.NOOP, Opcode.GETQ])
    assert decoder.queued(rest, 2)[1] == [Opcode.GET, Opcode.SET]
    parsed = 0
    while decoder.buffered and not isinstance(decoder.next_event(), type(decoder._wait_for(0))):
        parsed += 1
        if decoder.buffered:
            assert decoder.queued(rest, 10)[0] == 4 - parsed
