"""What all connections hold together has a bound, and so has the memory of the process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from support.commands import run_json
from trio_spool import SpoolStatistics
from trio_spool._incidents import Incidents
from trio_spool.engine._submissions import GROUP_BYTES
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, encode_request, encode_scan_request
from trio_spool.server import Settings
from trio_spool.server.settings import _limits
from trio_spool.server.shared import Buffers, Cause, Tuning
from trio_spool.server.shared._buffers import PATIENCE, STARVED
from trio_spool.server.shared._connections import Connections
from trio_spool.server.shared._counters import Counters

EXTRAS = bytes(8)
MB = 1_000_000
VALUE = bytes(MB)


# The policy


class Holder:
    """A connection that holds as much as a test says."""

    def __init__(self, number: int, held: int) -> None:
        self.number = number
        self.size = held
        self.moved: int | None = 0
        self.broken = False
        self.cause = None

    def held(self) -> int:
        return self.size

    def progress(self) -> int | None:
        return self.moved

    def who(self) -> tuple[str, str]:
        return f"10.0.0.{self.number}:1", "ann"

    def break_off(self, cause: Cause) -> None:
        assert cause is Cause.MAX_BUFFERED
        self.broken = True

    def bytes_written(self) -> int:
        return 0

    def spool_statistics(self) -> SpoolStatistics:
        return SpoolStatistics()

    def __getattr__(self, name: str) -> Any:  # what is not used here
        raise AssertionError(name)


class Service:
    """Buffers with connections of a test, a clock that it sets, and a bound of 100 MB. There is room up to 92.7 MB."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settings = Settings(max_buffered=100 * MB, max_item_size=MB - 257 * 1024)
        self.connections = Connections()
        self.counters = Counters()
        self.lines: list[dict[str, object]] = []
        incidents = Incidents(lambda level, event, details, error: self.lines.append({"event": event, **details}), lambda: self.now)
        self.buffers = Buffers(lambda: self.settings, self.connections, self.counters, incidents, lambda: self.now)

    def add(self, *sizes: int) -> list[Holder]:
        added = [Holder(self.connections.next_number(), size) for size in sizes]
        for holder in added:
            self.connections.add(holder)
            self.buffers.add(holder.size)
        return added

    def remove(self, holder: Holder) -> None:
        self.connections.remove(holder)
        self.buffers.forget(holder)

    def after(self, seconds: float) -> None:
        self.buffers.look()
        self.now += seconds
        self.buffers.look()


@pytest.fixture
async def service() -> Service:
    return Service()


def broken(holders: list[Holder]) -> list[int]:
    return [holder.number for holder in holders if holder.broken]


async def test_nobody_is_closed_while_there_is_room(service) -> None:
    holders = service.add(30 * MB, 60 * MB)
    assert not service.buffers.tight
    service.after(1000)
    assert broken(holders) == []
    assert service.buffers.held() == service.buffers.high_water == 90 * MB


async def test_who_has_stopped_and_holds_most_is_closed_first(service) -> None:
    holders = service.add(10 * MB, 50 * MB, 25 * MB, 15 * MB)
    assert service.buffers.tight
    service.buffers.look()
    assert broken(holders) == []  # nobody knows yet who has stopped
    service.now += PATIENCE
    holders[1].moved = 5
    service.buffers.look()
    assert broken(holders) == [3]
    service.after(PATIENCE)
    assert broken(holders) == [3]  # it is about to end: nobody else has to
    assert service.counters.buffer_kicks == 1
    assert service.lines == [
        {
            "event": "connections are closed: all together hold too much", "connection": 3, "peer": "10.0.0.3:1", "user": "ann",
            "held": 25 * MB, "together": 100 * MB, "limit": 100 * MB, "hint": "raise --max-buffered",
        }
    ]  # fmt: skip


async def test_who_waits_for_the_service_has_not_stopped(service) -> None:
    holders = service.add(60 * MB, 40 * MB)
    holders[0].moved = None
    service.after(STARVED / 2)
    assert broken(holders) == [2]


async def test_if_nothing_else_helps_those_are_closed_that_move(service) -> None:
    holders = service.add(60 * MB, 40 * MB)
    for _ in range(10):
        for holder in holders:
            holder.moved += 1
        service.after(STARVED / 11)
        assert broken(holders) == []
    holders[0].moved = holders[1].moved = 100
    service.after(STARVED)
    assert broken(holders) == [1]


async def test_if_the_bound_is_crossed_nobody_is_spared(service) -> None:
    holders = service.add(60 * MB, 41 * MB)
    service.buffers.look()
    assert broken(holders) == [1]


async def test_a_turn_waits_for_room(service) -> None:
    holders = service.add(60 * MB, 40 * MB)
    begun = []

    async def turn() -> None:
        await service.buffers.wait_room(99, MB)
        begun.append(99)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        await trio.testing.wait_all_tasks_blocked()
        assert begun == []
        holders[0].size = 10 * MB  # its client has read
        while not begun:
            await trio.sleep(0.001)
    assert not service.buffers.tight
    assert broken(holders) == []


async def test_small_requests_need_not_wait_behind_large_ones(service) -> None:
    holders = service.add(60 * MB, 38 * MB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.buffers.wait_room, 99, MB)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(0):  # at once
            await service.buffers.wait_room(98, 1000)
        service.buffers.add(3 * MB)
        assert not service.buffers.has_room(1000)
        nursery.cancel_scope.cancel()
    assert broken(holders) == []


async def test_a_turn_goes_on_when_a_closed_connection_has_ended(service) -> None:
    holders = service.add(60 * MB, 40 * MB)
    service.after(PATIENCE)
    assert broken(holders) == [1]
    assert service.buffers.tight
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.buffers.wait_room, 2, MB)
        await trio.testing.wait_all_tasks_blocked()
        holders[0].size = 0
        service.buffers.look()
        assert service.buffers.tight  # its memory is freed only once it has ended
        service.remove(holders[0])
    assert not service.buffers.tight


async def test_a_closed_connection_has_no_further_turn(service) -> None:
    holders = service.add(60 * MB, 40 * MB)
    service.after(PATIENCE)
    with pytest.raises(trio.BrokenResourceError):
        await service.buffers.wait_room(holders[0].number, MB)


async def test_the_bound_can_change(service) -> None:
    service.add(60 * MB)
    service.settings = Settings(max_buffered=50 * MB, max_item_size=MB)
    service.buffers.change()
    assert service.buffers.tight


# On sockets


OPTIONS: dict[str, Any] = {
    "max_buffered": 20 * MB, "max_item_size": 2 * MB, "window": 100_000, "tuning": Tuning(housekeeping=0.02)
}  # fmt: skip


@pytest.fixture
async def small(run_service):
    """A service whose connections may hold 20 MB together; it looks at who has stopped as often as it can."""
    async with run_service(**OPTIONS) as service:
        async with service.connect() as raw:
            assert (await raw.call(Opcode.SET, key=b"k", value=VALUE, extras=EXTRAS)).status == 0
        yield service


GET = encode_request(Opcode.GET, key=b"k")


async def test_clients_that_read_nothing_are_closed_and_those_that_read_are_served(small) -> None:
    read = []

    async def reader() -> None:
        async with small.connect() as raw:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(raw.send, GET * 60)
                for _ in range(60):
                    read.append(len((await raw.receive()).value))

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            streams = [await trio.open_tcp_stream("127.0.0.1", small.port) for _ in range(40)]
            for stream in streams:
                await stream.send_all(GET * 500)
            for _ in range(4):
                nursery.start_soon(reader)
        assert read == [MB] * 240
        assert small.inside.counters.buffer_kicks >= 20
        assert small.inside.buffers.high_water <= 20 * MB
        for stream in streams:
            await stream.aclose()
    assert [entry["event"] for entry in logs] == ["connections are closed: all together hold too much"]


async def test_clients_that_read_nothing_by_tls(run_service, authority) -> None:
    listen = ("tcp://127.0.0.1:0", "tls://127.0.0.1:0")
    async with run_service(**OPTIONS, listen=listen, **authority.files) as service, AsyncExitStack() as opened:
        stalled = [await opened.enter_async_context(service.connect(authority.client(), index=1)) for _ in range(30)]
        assert (await stalled[0].call(Opcode.SET, key=b"k", value=VALUE, extras=EXTRAS)).status == 0
        for raw in stalled:
            await raw.send(GET * 100)
        async with service.connect() as raw:
            for _ in range(30):
                assert len((await raw.call(Opcode.GET, key=b"k")).value) == MB
        assert service.inside.counters.buffer_kicks >= 10
        assert service.inside.buffers.high_water <= 20 * MB


async def test_requests_that_arrive_do_not_cross_the_bound(run_service) -> None:
    """They are looked at as soon as there is too much of them, and not only now and then."""
    half = encode_request(Opcode.SET, key=b"half", value=VALUE, extras=EXTRAS)[:-200]
    async with run_service(**OPTIONS | {"tuning": Tuning(housekeeping=1000)}) as service:
        buffers, most = service.inside.buffers, 0
        streams = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(40)]
        for start in range(0, len(half), 100_000):
            for stream in streams:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(half[start : start + 100_000])
                most = max(most, buffers.held())
        assert service.inside.counters.buffer_kicks > 10
        assert most <= 22 * MB  # a read of each connection may come before the look
        for stream in streams:
            await stream.aclose()


async def test_requests_that_have_arrived_in_part_count(small, until) -> None:
    half = encode_request(Opcode.SET, key=b"half", value=VALUE, extras=EXTRAS)[:-200]
    streams = [await trio.open_tcp_stream("127.0.0.1", small.port) for _ in range(40)]
    for stream in streams:
        try:
            await stream.send_all(half)
        except trio.BrokenResourceError:
            pass  # it was closed already
    async with small.connect() as raw:
        assert len((await raw.call(Opcode.GET, key=b"k")).value) == MB
    await until(lambda: small.inside.counters.buffer_kicks >= 20)
    assert small.inside.buffers.held() <= 20 * MB
    for stream in streams:
        await stream.aclose()


async def test_what_scans_have_spooled_counts(run_service, until) -> None:
    """Worker threads produce it, and do not wait for room: they have everybody looked at when it is too much."""
    options = {"max_buffered": 20 * MB, "max_item_size": 2 * MB, "window": 100_000, "tuning": Tuning(housekeeping=1000)}
    async with run_service(**options) as service, service.connect() as raw:
        for number in range(20):
            assert (await raw.call(Opcode.SET, key=b"%02d" % number, value=VALUE, extras=EXTRAS)).status == 0
        streams = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(20)]
        for stream in streams:
            await stream.send_all(encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest())))
            identity = (await stream.receive_some(1000))[24:40]
            await stream.send_all(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 0, 0)))
        shared = service.inside
        await until(lambda: shared.counters.buffer_kicks > 0 and shared.buffers.held() <= 20 * MB)
        for stream in streams:
            await stream.aclose()


async def test_nothing_is_held_in_the_end(small, until) -> None:
    async with small.connect() as raw:
        await raw.send(GET * 100)
    await until(lambda: not len(small.inside.connections))
    assert small.inside.buffers.held() == 0


async def test_statistics(small) -> None:
    async with small.connect() as raw:
        shown = await raw.stat(b"spool")
        assert (shown[b"buffered_max"], int(shown[b"memory_max"])) == (b"20000000", small.inside.settings.memory_bytes(1))
        assert int(shown[b"buffered"]) < 10_000


# The process


def statistics(address: str, *group: str) -> dict[str, Any]:
    statistics: dict[str, Any] = run_json("stat", address, *group)
    return statistics


def memory(pid: int, kind: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(kind)


def test_a_group_of_the_writer_is_as_large_as_the_settings_say() -> None:
    assert _limits.GROUP_BYTES == GROUP_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_whole_is_bounded(start: Callable[..., Any], tmp_path: Path) -> None:
    """A hundred clients ask for 20 MB five hundred times each, 1 TB in all, and read nothing."""
    value, bound = bytes(20 * 1024 * 1024), 120 * MB
    arguments = (str(tmp_path / "data"), "--fsync", "no", "--listen", "tcp://127.0.0.1:0", "--max-buffered", str(bound))
    with start(*arguments) as process, ExitStack() as opened:

        def connect() -> socket.socket:
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", process.port))
            return client

        first = connect()
        first.sendall(encode_request(Opcode.SET, key=b"k", value=value, extras=EXTRAS))
        assert first.recv(24)[6:8] == bytes(2)
        clients = [connect() for _ in range(100)]
        for client in clients:
            client.sendall(GET * 500)
        kicks = 0
        while kicks < 5:
            kicks = int(statistics(process.address)["buffer_kicks"])
        shown = statistics(process.address, "spool")
        pid = process.popen.pid
        peak = memory(pid, "VmHWM") - memory(pid, "RssFile")
        assert int(shown["buffered_high_water"]) <= bound
        # The bound for the whole counts with all workers and all connections; here one thread works, for a hundred.
        turn = Settings().turn_bytes
        assert peak <= int(shown["memory_max"])
        assert peak <= 64 * 1024 * 1024 + bound + 3 * turn + 2 * (GROUP_BYTES + len(value))
