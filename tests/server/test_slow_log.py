"""Slow commands: what is noted of them, in the log and in ``stat slow``, and how much at most."""

from __future__ import annotations

import json
import threading
from time import perf_counter
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from support.engines import Hooks
from support.service import Raw, Served, wait_until
from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Feature, Opcode, ScanRequest, encode_request, encode_scan_request
from trio_spool.server import Settings
from trio_spool.server.data import Spent
from trio_spool.server.data._bucket import _note_writing
from trio_spool.server.shared import Client, SlowLog, Told, Tuning
from trio_spool.server.shared._log import Log
from trio_spool.server.shared._slow_log import KEPT, MAX_LINES, MAX_TOGETHER, WINDOW

EXTRAS = bytes(8)
CLIENT = Client(1, "peer", None, None)


def store(key: bytes) -> bytes:
    return encode_request(Opcode.SET, key=key, value=b"v", extras=EXTRAS)


def slow_lines(logs: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in logs if entry["event"] == "slow command"]


async def slow(raw: Raw) -> list[dict[str, Any]]:
    """What ``stat slow`` says of each command, in order."""
    rows = await raw.stat(b"slow")
    return [json.loads(row) for name, row in rows.items() if name.isdigit()]


class Delayed:
    """A writer that a test holds up."""

    def __init__(self, hooks: Hooks) -> None:
        self.engine: Any = hooks.engines[0]
        self.submit = self.engine.submit
        self.engine.submit = lambda *arguments: self.submitted.append(arguments)
        self.submitted: list[Any] = []

    async def go_on(self, seconds: float = 0.02) -> None:
        await wait_until(lambda: bool(self.submitted))
        await trio.sleep(seconds)
        self.engine.submit = self.submit
        for arguments in self.submitted:
            self.submit(*arguments)


# What is noted


async def test_mutations_that_wait_for_the_writer(run_service) -> None:
    hooks = Hooks()
    with capture_logs() as logs:
        async with run_service(engine=hooks.kind(), slow_log=0.01) as service, service.connect() as raw:
            writer = Delayed(hooks)
            await raw.send(store(b"first\n"), encode_request(Opcode.GET, key=b"second"), encode_request(Opcode.NOOP))
            await writer.go_on()
            for _ in range(3):
                await raw.receive()
            seen = await slow(raw)
    lines = slow_lines(logs)
    lines = [line for line in lines if line["command"] != "stat"]
    assert [line["command"] for line in lines] == [each["command"] for each in seen] == ["set", "get", "noop"]
    assert [line["key"] for line in lines] == ["first\\x0a", "second", ""]
    assert [line["collection"] for line in lines] == ["_default._default", "_default._default", None]
    first = seen[0]
    assert (first["bucket"], first["connection"], first["user"], first["together"]) == ("default", 1, None, 3)
    assert first["writer_wait"] + first["writer"] >= 0.02
    assert first["writer_wait"] >= 0.02  # the engine says when it has begun, after it was held up
    assert first["seconds"] >= first["writer_wait"] + first["writer"]
    assert (first["worker"], first["client"], first["queued"]) == (0, 0, pytest.approx(0, abs=0.01))
    assert first["at"].endswith("Z")
    assert lines[0]["seconds"] == first["seconds"] and lines[0]["log_level"] == "warning"


async def test_those_behind_them_wait_in_the_queue(run_service) -> None:
    hooks = Hooks()
    async with run_service(engine=hooks.kind(), slow_log=0.01, max_in_flight=1) as service, service.connect() as raw:
        writer = Delayed(hooks)
        await raw.send(store(b"first"), encode_request(Opcode.GET, key=b"second"))
        await writer.go_on()
        for _ in range(2):
            await raw.receive()
        first, second = await slow(raw)
        assert (first["command"], first["together"], second["command"], second["together"]) == ("set", 1, "get", 1)
        assert second["queued"] >= 0.02 > first["queued"]
        assert (second["writer"], second["writer_wait"]) == (0, 0)
        assert second["seconds"] >= first["seconds"]


@pytest.mark.parametrize(("began", "shares"), [(0.0, (0.0, 1.0)), (-0.75, (0.25, 0.75)), (-5.0, (0.0, 1.0)), (5.0, (1.0, 0.0))])
def test_the_time_of_a_mutation_is_divided_where_the_writer_began(began: float, shares: tuple[float, float]) -> None:
    """An engine that does not say when it began (0) has been writing from the beginning."""
    spent, now = Spent(), perf_counter()
    _note_writing(spent, now - 1.0, began and now + began)
    assert (spent.writer_wait, spent.writer) == (pytest.approx(shares[0], abs=0.1), pytest.approx(shares[1], abs=0.1))


async def test_reads_that_wait_for_a_worker(run_service) -> None:
    hooks, release, working = Hooks(local=False), threading.Event(), threading.Event()

    def block() -> None:
        working.set()
        assert release.wait(60)

    async with (
        run_service(engine=hooks.kind(), workers=1, slow_log=0.01) as service,
        service.connect() as raw,
        service.connect() as other,
    ):
        hooks.before_get = block
        await raw.send(encode_request(Opcode.GET, key=b"working"))
        await wait_until(working.is_set)
        await other.send(encode_request(Opcode.GET, key=b"waiting"), encode_request(Opcode.NOOP))
        await wait_all_tasks_blocked(0.02)
        release.set()
        await raw.receive()
        await other.receive()
        await other.receive()
        seen = {each["key"]: each for each in await slow(raw)}
    assert seen["working"]["worker"] >= 0.02 and seen["working"]["worker_wait"] < seen["working"]["worker"]
    assert seen["waiting"]["worker_wait"] >= 0.02 and seen["waiting"]["queued"] < 0.02
    assert seen["waiting"]["collection"] == "_default._default"
    assert seen[""]["command"] == "noop" and seen[""]["queued"] >= 0.02


async def test_long_commands(run_service, tmp_path) -> None:
    """Scans, statistics and files: what waits for the client counts as well, and says so."""
    async with run_service(data_dir=tmp_path / "data", slow_log=1e-9, window=10_000) as service, service.connect() as raw:
        frames = [encode_request(Opcode.SETQ, key=b"%0200d" % number, extras=EXTRAS) for number in range(1000)]
        await raw.send(*frames, encode_request(Opcode.NOOP))
        await raw.receive()
        service.inside.slow.reset()
        await raw.stat(b"keys")
        reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(name="nightly")))
        assert reply.status == 0
        await raw.call(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0ann\0secret")
        seen = {each["command"]: each for each in await slow(raw)}
    assert {"stat", "range_scan_create", "sasl_auth"} <= set(seen)
    assert seen["stat"]["key"] == "keys" and seen["stat"]["worker"] > 0
    assert seen["sasl_auth"]["key"] == "PLAIN"
    assert "secret" not in json.dumps(seen)


async def test_runs_of_gets(run_service) -> None:
    async with run_service(slow_log=1e-9) as service, service.connect() as raw:
        await raw.send(*[encode_request(Opcode.GET, key=b"key%03d" % number) for number in range(100)])
        for _ in range(100):
            await raw.receive()
        seen = await slow(raw)
        assert [each["key"] for each in seen][:MAX_TOGETHER] == [f"key{number:03}" for number in range(MAX_TOGETHER)]
        counted = await raw.stat(b"slow")
        assert int(counted[b"slow"]) >= 100 and int(counted[b"left_out"]) >= 100 - 2 * MAX_TOGETHER


async def test_collections(run_service) -> None:
    async with run_service(slow_log=1e-9) as service, service.connect() as raw:
        manifest = {"uid": "1", "scopes": [
            {"name": "_default", "uid": "0", "collections": [{"name": "_default", "uid": "0"}]},
            {"name": "shop", "uid": "8", "collections": [{"name": "orders", "uid": "100"}]},
        ]}  # fmt: skip
        assert (await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=json.dumps(manifest).encode())).status == 0
        await raw.hello(Feature.COLLECTIONS)
        service.inside.slow.reset()
        await raw.call(Opcode.SET, key=b"\x80\x02order", value=b"v", extras=EXTRAS)
        (line,) = [each for each in await slow(raw) if each["command"] == "set"]
        assert (line["key"], line["collection"]) == ("order", "shop.orders")


async def test_the_text_protocol(run_service) -> None:
    async with run_service(slow_log=1e-9) as service:
        async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
            await stream.send_all(b"set a 0 0 1\r\nb\r\nget a\r\nget b\r\nAUTH secret\r\nmn\r\n")
            received = b""
            while b"MN\r\n" not in received:
                received += await stream.receive_some(1000)
            async with service.connect() as raw:
                seen = [each for each in await slow(raw) if each["connection"] == 1]
    assert [(each["command"], each["key"]) for each in seen] == [
        ("set", "a"),
        ("get", "a"),
        ("get", "b"),
        ("unknown", ""),
        ("mn", ""),
    ]


async def test_by_default_nothing_is_noted(service, raw) -> None:
    await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
    assert await raw.stat(b"slow") == {b"limit": b"0.0", b"slow": b"0", b"left_out": b"0"}


async def test_what_is_fast_is_not_noted(run_service) -> None:
    async with run_service(slow_log=1000) as service, service.connect() as raw:
        await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
        await raw.stat(b"keys")
        assert await slow(raw) == []


async def test_the_limit_changes_while_the_service_runs(run_service) -> None:
    async with run_service() as service, service.connect() as raw:
        for limit, noted in ((1e-9, 1), (float("inf"), 0), (0.0, 0), (1e-9, 1)):
            service.inside.change(service.inside.settings.changed_to(Settings(**{**_as_values(service), "slow_log": limit}))[0])
            service.inside.slow.reset()
            await raw.call(Opcode.NOOP)
            assert service.inside.slow.count == noted


def _as_values(service: Served) -> dict[str, Any]:
    settings = service.inside.settings
    return {"engine": settings.engine, "listen": settings.listen}


# Keys


@pytest.mark.parametrize("hidden", [False, True])
async def test_keys_can_be_hidden(run_service, hidden: bool) -> None:
    with capture_logs() as logs:
        async with run_service(slow_log=1e-9, hide_keys=hidden) as service, service.connect() as raw:
            await raw.call(Opcode.SET, key=b"personal", value=b"v", extras=EXTRAS)
            await raw.stat(b"keys")
            rows = await slow(raw)
    assert ("personal" in repr(logs)) == ("personal" in json.dumps(rows)) == (not hidden)
    assert {line["command"] for line in slow_lines(logs)} >= {"set", "stat"}


async def test_who_may_see_them(run_service, tmp_path) -> None:
    users = write_users(
        tmp_path / "users.json", user("all", Role.STATS, Role.READ, Role.WRITE), user("counts", Role.STATS),
        user("one", buckets={"default": [Role.STATS, Role.READ]}),
    )  # fmt: skip
    async with run_service(users=users, slow_log=1e-9) as service:
        async with service.connect() as raw:
            assert await raw.login("all", "pencil") == 0
            await raw.call(Opcode.SET, key=b"personal", value=b"v", extras=EXTRAS)
            assert "personal" in json.dumps(await slow(raw))
        async with service.connect() as raw:
            assert await raw.login("counts", "pencil") == 0
            rows = await slow(raw)
            assert rows and "personal" not in json.dumps(rows)
        async with service.connect() as raw:
            assert await raw.login("one", "pencil") == 0
            assert (await raw.call(Opcode.STAT, key=b"slow")).status != 0


def test_long_keys_are_cut() -> None:
    log = SlowLog(Settings(slow_log=1, engine="memory"), Log("error"))
    log.note((Told("get", bytes(250), False), Told("get", b"", True), Told("get", b"\xff\xff", True)), 3, CLIENT, 2.0, 0.0, Spent())
    first, second, third = log
    assert first.key == "\\x00" * 100 + "…"
    assert (second.key, third.key) == ("", "")


# Bounds


def test_a_slow_disk_does_not_fill_the_log() -> None:
    clock = Clock()
    with capture_logs() as logs:
        log = SlowLog(Settings(slow_log=1, engine="memory"), Log("warning"), clock)
        for _ in range(1000):
            log.note((Told("set", b"k", False),), 1, CLIENT, 2.0, 0.0, Spent())
        log.look()
        assert len(logs) == MAX_LINES  # nothing of the rest yet
        clock.now += WINDOW
        log.look()
        assert len(list(log)) == KEPT
        assert [each.number for each in log] == list(range(1001 - KEPT, 1001))
        log.look()
        log.note((Told("set", b"k", False),), 1, CLIENT, 2.0, 0.0, Spent())
        log.finish()
    assert len(logs) == MAX_LINES + 2
    left_out = logs[MAX_LINES]
    assert (left_out["event"], left_out["commands"], left_out["in_all"]) == ("slow commands were left out", 1000 - MAX_LINES, 1000)
    assert logs[-1]["event"] == "slow command"
    assert (log.count, log.left_out) == (1001, 1000 - MAX_LINES)


def test_what_was_left_out_is_told_at_the_latest_at_the_end() -> None:
    with capture_logs() as logs:
        log = SlowLog(Settings(slow_log=1, engine="memory"), Log("warning"), Clock())
        log.note((Told("get", b"k", False) for _ in range(500)), 500, CLIENT, 2.0, 0.0, Spent())
        log.finish()
        log.finish()
    assert [entry["event"] for entry in logs] == ["slow command"] * MAX_TOGETHER + ["slow commands were left out"]
    assert logs[-1]["commands"] == 500 - MAX_TOGETHER
    assert len(list(log)) == MAX_TOGETHER


async def test_the_service_tells_what_was_left_out(run_service) -> None:
    with capture_logs() as logs:
        async with run_service(slow_log=1e-9, tuning=Tuning(clock=Clock())) as service, service.connect() as raw:
            await raw.send(*[encode_request(Opcode.GET, key=b"k")] * 100)
            for _ in range(100):
                await raw.receive()
    assert logs[-1]["event"] == "slow commands were left out"
