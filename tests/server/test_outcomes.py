"""How requests end is counted for each command and status, and each limit that is reached by its option."""

from __future__ import annotations

import pytest
import trio

from trio_spool.mcbp import Feature, Opcode, Status, encode_request
from trio_spool.server.settings import LIMITS, LimitHits
from trio_spool.server.shared import CUT_OFF, LoopLag, Timings

EXTRAS = bytes(8)


async def outcomes(raw) -> dict[str, int]:
    rows = await raw.stat(b"requests")
    return {name.decode(): int(value) for name, value in rows.items() if int(value) and not name.startswith(b"stat:")}


async def test_each_command_and_status(raw) -> None:
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS, value=b"v")
    gets = [encode_request(Opcode.GET, key=key) for key in (b"k", b"none", b"k", b"nor this")]
    await raw.send(*gets, encode_request(Opcode.GETQ, key=b"none"), encode_request(Opcode.GETK, key=b"none"))
    for _ in range(5):
        await raw.receive()
    await raw.call(Opcode.ADD, key=b"k", extras=EXTRAS)
    await raw.call(Opcode.DELETE, key=b"none")
    await raw.call(Opcode.INCREMENT, key=b"k", extras=bytes(20))
    await raw.call(Opcode.SASL_AUTH, key=b"NONE", value=b"x")
    await raw.call(0x77)
    await raw.call(0x78)
    assert await outcomes(raw) == {
        "set:ok": 1, "get:ok": 2, "get:not_found": 3, "getk:not_found": 1, "add:exists": 1, "delete:not_found": 1,
        "increment:not_a_number": 1, "sasl_auth:auth_error": 1, "unknown:unknown_command": 2,
    }  # fmt: skip


async def test_refused_before_it_runs(raw) -> None:
    assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS, value=bytes(100_001))).status == Status.TOO_BIG
    found = await outcomes(raw)
    assert found.get("set:too_big") == 1
    assert int((await raw.stat(b"limits"))[b"max-item-size"]) == 1


async def test_sub_documents_in_a_worker(raw) -> None:
    await raw.hello(Feature.JSON, Feature.XERROR)
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS, value=b'{"a":"' + bytes(b"x" * 50_000) + b'"}')
    extras = len(b"none").to_bytes(2, "big") + b"\0"
    reply = await raw.call(Opcode.SUBDOC_GET, key=b"k", extras=extras, value=b"none")
    assert reply.status == Status.SUBDOC_PATH_NOT_FOUND
    assert (await outcomes(raw))["subdoc_get:subdoc_path_not_found"] == 1


async def test_scans_end_with_their_own_statuses(raw) -> None:
    await raw.hello(Feature.JSON)
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)
    created = await raw.call(Opcode.RANGE_SCAN_CREATE, datatype=1, value=b'{"range":{"start":"","end":"/w=="}}')
    assert created.status == 0
    assert (await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=created.value + bytes(12))).status == Status.SCAN_COMPLETE
    found = await outcomes(raw)
    assert found["range_scan_continue:scan_complete"] == 1
    assert "range_scan_continue:ok" not in found


def test_a_success_once_told_is_never_taken_back() -> None:
    """Failures are counted when they are encoded, and their commands when they are answered."""
    timings = Timings()
    timings.record("get", 0.001, 10)
    (before,) = timings.read()
    timings.failed("get", "not_found", 3)
    (between,) = timings.read()
    timings.record("get", 0.001, 3)
    (after,) = timings.read()
    assert [each.succeeded for each in (before, between, after)] == [10, 10, 10]
    assert after.failed == {"not_found": 3}
    timings.reset()
    assert timings.read() == []


async def test_a_command_that_is_cut_off_is_counted(service) -> None:
    async with service.connect() as raw:
        for start in range(0, 20_000, 1000):
            keys = [b"a long key %06d" % number for number in range(start, start + 1000)]
            await raw.send(*(encode_request(Opcode.SETQ, key=key, extras=EXTRAS) for key in keys))
        await raw.call(Opcode.NOOP)
        await raw.send(encode_request(Opcode.STAT, key=b"keys"))
        while not service.inside.connections.spool_statistics().turns:
            await trio.sleep(0.001)
    with trio.fail_after(60):
        while len(service.inside.connections):
            await trio.sleep(0.001)
    (stat,) = [each for each in service.inside.timings.read() if each.command == "stat"]
    assert (stat.succeeded, stat.failed) == (0, {CUT_OFF: 1})


@pytest.mark.parametrize("setting", ["max_connections", "max_connections_per_address"])
async def test_refused_connections_say_why(run_service, setting: str) -> None:
    async with run_service(**{setting: 1}) as service, service.connect() as raw:
        await raw.call(Opcode.NOOP)
        async with service.connect() as another:
            while await another.stream.receive_some(1000):
                pass
        hits = {name: times for name, times in service.inside.limits.counts.items() if times}
        assert hits == {setting.replace("_", "-"): 1}
        assert (await raw.stat())[b"rejected_connections"] == b"1"


async def test_too_many_scans(run_service) -> None:
    async with run_service(max_scans=1) as service, service.connect() as raw:
        await raw.hello(Feature.JSON)
        await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)
        replies = [
            (await raw.call(Opcode.RANGE_SCAN_CREATE, datatype=1, value=b'{"range":{"start":"","end":"/w=="}}')).status
            for _ in range(2)
        ]
        assert replies == [0, Status.TEMPORARY_FAILURE]
        assert int((await raw.stat(b"limits"))[b"max-scans"]) == 1
        await raw.stat(b"reset")
        assert set((await raw.stat(b"limits")).values()) == {b"0"}


def test_limits_are_options() -> None:
    from trio_spool.cli._serve import serve

    options = {name.removeprefix("--") for parameter in serve.params for name in parameter.opts}
    assert set(LIMITS) <= options
    with pytest.raises(KeyError):
        LimitHits().hit("--no-such-limit")


async def test_the_lag_of_the_loop(raw) -> None:
    lag = LoopLag()
    lag.note(0.25)
    lag.note(-0.001)
    read = lag.histogram.read()
    assert (lag.looks, lag.last, read.count, read.highest, read.percentile(50)) == (2, 0.0, 2, 250_000, 0)
    rows = await raw.stat(b"loop")
    assert int(rows[b"tasks"]) > 3
    assert b"lag" in rows


async def test_each_command_of_the_text_protocol(run_service) -> None:
    """With the names that the binary protocol has, so that both add up."""
    lines = [
        b"set k 0 0 1\r\nx\r\n", b"get k\r\n", b"get none\r\nget nor\r\n", b"get k none nor\r\n", b"add k 0 0 1\r\nx\r\n", b"incr k 1\r\n",
        b"delete none\r\n", b"touch none 1\r\n", b"replace none 0 0 1 noreply\r\nx\r\n", b"mg none v\r\n", b"mg none v q\r\n",
        b"md none\r\n", b"gat 0 none k\r\n", b"gats 0 none\r\n", b"gets none\r\n", b"nonsense\r\n", b"set k 0 0 100001\r\n" + bytes(100_001) + b"\r\n", b"incr k\r\n",
        b"stats nothing\r\n", b"cas k 0 0 1 7\r\nx\r\n", b"set k 0 0 x\r\n",
    ]  # fmt: skip
    async with run_service(max_item_size=100_000) as service:
        async with service.connect() as text:
            await text.stream.send_all(b"".join(lines) + b"mn\r\n")
            data = b""
            while not data.endswith(b"MN\r\n"):
                data += await text.stream.receive_some(65536)
        async with service.connect() as raw:
            found = await outcomes(raw)
            limits = await raw.stat(b"limits")
    assert limits[b"max-item-size"] == b"1"
    assert found == {
        "set:ok": 1, "get:ok": 2, "get:not_found": 2, "add:exists": 1, "incr:not_a_number": 1, "delete:not_found": 1,
        "touch:not_found": 1, "replace:not_found": 1, "mg:not_found": 2, "md:not_found": 1, "gat:ok": 1, "gats:not_found": 1, "gets:not_found": 1, "unknown:unknown_command": 1,
        "set:too_big": 1, "incr:invalid": 1, "stats:not_found": 1, "cas:not_found": 1, "unknown:invalid": 1, "mn:ok": 1,
    }  # fmt: skip
