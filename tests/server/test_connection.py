"""Connections that behave badly, answers that are streamed, and how it all ends."""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
import weakref

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from trio_spool.engine import DataDirectoryError, Delete
from trio_spool.mcbp import HEADER, DataType, Feature, Opcode, Status, encode_request, encode_response, shape
from trio_spool.server import ListenError, Settings, SettingsError, serve
from trio_spool.server.conversation import ANYBODY
from trio_spool.server.protocols.binary import COMMANDS, BinaryGuest, Command, Table, _gate, unknown
from trio_spool.server.statistics import GROUPS, Group, Row

EXTRAS = struct.pack(">LL", 0, 0)


def header(magic=0x80, opcode=0, key=0, extras=0, datatype=0, vbucket=0, body=0, opaque=0, cas=0) -> bytes:
    return HEADER.pack(magic, opcode, key, extras, datatype, vbucket, body, opaque, cas)


async def fill(raw, count: int, size: int = 10) -> None:
    frames = [encode_request(Opcode.SETQ, key=b"key:%06d" % n, value=b"v" * size, extras=EXTRAS) for n in range(count)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.send, *frames, encode_request(Opcode.NOOP))
        assert (await raw.receive()).opcode == Opcode.NOOP


async def stat(raw, group: bytes = b"") -> dict[bytes, bytes]:
    await raw.send(encode_request(Opcode.STAT, key=group, opaque=42))
    rows = {}
    while True:
        response = await raw.receive()
        assert (response.opcode, response.opaque, response.status, response.cas) == (Opcode.STAT, 42, 0, 0)
        if not response.key:
            assert not response.value
            return rows
        rows[response.key] = response.value


# Bad input


@pytest.mark.parametrize("magic", [0x00, 0x18, 0x81, 0x82, 0xFF, ord("g")])
async def test_what_is_no_magic_is_the_text_protocol(run_service, magic: int) -> None:
    """Where that is not spoken, the client is told so, and disconnected."""
    async with run_service(protocols="binary") as service:
        for sent in header(magic=magic) + b"et key\r\n" * 10, bytes((magic,)):
            async with service.connect() as raw:
                await raw.send(sent)
                assert await raw.rest() == b"SERVER_ERROR the text protocol is not spoken here: see --protocols\r\n"
        async with service.connect() as raw:
            assert (await raw.call(Opcode.NOOP)).status == 0


async def test_a_service_without_the_binary_protocol(run_service) -> None:
    async with run_service(protocols="text") as service:
        async with service.connect() as raw:
            await raw.send(encode_request(Opcode.GET, key=b"k", opaque=7)[:20])
            await raw.send(encode_request(Opcode.GET, key=b"k", opaque=7)[20:])
            reply = await raw.receive()
            assert (reply.opaque, reply.status) == (7, Status.TEMPORARY_FAILURE)
            assert reply.value == b"the binary protocol is not spoken here: see --protocols"
            assert await raw.closed()
        async with service.connect() as raw:
            await raw.send(b"version\r\nquit\r\n")
            assert (await raw.rest()).startswith(b"VERSION ")


@pytest.mark.parametrize("magic", [0x00, 0x18, 0x81, 0x82, 0xFF, ord("g")])
async def test_any_other_magic_begins_a_line(service, magic: int) -> None:
    async with service.connect() as raw:
        await raw.send(bytes((magic,)) + b"\xffno\r\nquit\r\n")
        assert await raw.rest() in (b"ERROR\r\n", b"CLIENT_ERROR bad command line format\r\n")
    async with service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0


async def test_what_came_before_bad_magic_is_answered(service) -> None:
    async with service.connect() as raw:
        await raw.send(encode_request(Opcode.NOOP, opaque=1), header(magic=1))
        assert (await raw.receive()).opaque == 1
        assert await raw.closed()


async def test_contradictory_lengths(service) -> None:
    async with service.connect() as raw:
        await raw.send(header(key=10, extras=8, body=5, opaque=3))
        reply = await raw.receive()
        assert (reply.status, reply.opaque) == (Status.UNKNOWN_COMMAND, 3)
        assert await raw.closed()


@pytest.mark.parametrize("body", [0xFFFFFFE8, 0xFFFFFFFF, 31 * 1024 * 1024])
@pytest.mark.parametrize("opcode", [Opcode.SET, Opcode.GET, 0x77])
async def test_an_oversized_body(service, body: int, opcode: int) -> None:
    async with service.connect() as raw:
        await raw.send(header(opcode=opcode, key=3, extras=8, body=body, opaque=3))
        assert (await raw.receive()).status == Status.INVALID
        assert await raw.closed()


@pytest.mark.parametrize("size", [0, 251, 65535])
async def test_key_lengths(service, size: int) -> None:
    async with service.connect() as raw:
        await raw.send(header(key=size, body=size), b"k" * size)
        assert (await raw.receive()).status == Status.INVALID
        assert await raw.closed()


async def test_a_peer_that_closes_at_every_byte_of_a_request(service) -> None:
    frame = encode_request(Opcode.SET, key=b"key", value=b"value", extras=EXTRAS)
    for end in range(len(frame)):
        async with service.connect() as raw:
            await raw.send(frame[:end])
    async with service.connect() as raw:
        assert (await raw.call(Opcode.GET, key=b"key")).status == Status.NOT_FOUND


async def test_a_peer_that_closes_at_every_byte_of_a_reply(service) -> None:
    async with service.connect() as raw:
        await raw.call(Opcode.SET, key=b"key", value=b"value", extras=EXTRAS)
        size = len(encode_response(0, 0, 0, extras=bytes(4), value=b"value"))
    for end in range(1, size):
        async with service.connect() as raw:
            await raw.send(encode_request(Opcode.GET, key=b"key") * 3)
            await raw.stream.receive_some(end)
            # Unread data makes the system reset the connection.
    async with service.connect() as raw:
        assert (await raw.call(Opcode.GET, key=b"key")).value == b"value"


async def test_byte_by_byte(raw) -> None:
    for byte in encode_request(Opcode.SET, key=b"key", value=b"value", extras=EXTRAS) + encode_request(Opcode.GET, key=b"key"):
        await raw.send(bytes([byte]))
    assert (await raw.receive()).status == 0
    assert (await raw.receive()).value == b"value"


@given(st.lists(st.binary(max_size=80), max_size=5), st.booleans())
def test_fuzz_any_bytes(chunks: list[bytes], plausible: bool) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            settings = Settings(listen=("tcp://127.0.0.1:0",), engine="memory")
            address = (await nursery.start(_serve, settings))[0]
            port = int(address.rsplit(":", 1)[1])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                try:
                    for chunk in chunks:
                        await stream.send_all(b"\x80" + chunk if plausible else chunk)
                    await stream.send_eof()
                    with trio.fail_after(60):
                        while await stream.receive_some(65536):
                            pass
                except trio.BrokenResourceError:
                    pass
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(encode_request(Opcode.NOOP))
                assert len(await stream.receive_some(100)) == 24
            nursery.cancel_scope.cancel()

    trio.run(main)


async def _serve(settings: Settings, task_status=trio.TASK_STATUS_IGNORED) -> None:
    await serve(settings, task_status=task_status)


async def test_a_bug_in_a_command_costs_its_request_alone(run_service) -> None:
    """Whether the command fails at once, when it has collected something, or when its operation has been carried out."""

    def fails(exchange, request) -> None:
        raise RuntimeError("a bug")

    def fails_later(exchange, request) -> None:
        exchange.reply(b"half of a reply")
        exchange.operate(request, 0, Delete(b"\0k"), fails_encoding)
        raise RuntimeError("a bug")

    def fails_encoding(exchange, request, outcome) -> bytes:
        raise RuntimeError("a bug")

    def operates(exchange, request) -> None:
        exchange.operate(request, 0, Delete(b"\0other"), fails_encoding)

    bugs = (fails, fails_later, operates)
    rows = [Command(0x70 + number, shape(0), bug, ANYBODY) for number, bug in enumerate(bugs)]
    table = Table([*COMMANDS, *rows], unknown)
    frames = [encode_request(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS, opaque=1)]
    for number in range(len(bugs)):
        frames += [
            encode_request(0x70 + number, opaque=10 + number),
            encode_request(Opcode.APPEND, key=b"k", value=b"+", opaque=20 + number),
        ]
    with structlog.testing.capture_logs() as logs:
        async with run_service(detect=lambda first: lambda host: BinaryGuest(host, table)) as service:
            async with service.connect() as raw:
                await raw.send(*frames, encode_request(Opcode.GET, key=b"k", opaque=30))
                replies = [await raw.receive() for _ in range(8)]
                assert [(reply.opaque, reply.status) for reply in replies] == [
                    (1, 0), (10, 0x84), (20, 0), (11, 0x84), (21, 0), (12, 0x84), (22, 0), (30, 0),
                ]  # fmt: skip
                assert replies[-1].value == b"v+++"
            assert service.inside.counters.command_failures == 3
    assert [entry["event"] for entry in logs] == ["command failed"] * 3  # each for another reason


async def test_an_admission_that_fails_costs_its_request_alone(service, raw, monkeypatch) -> None:
    def inflate(exchange, request):
        raise RuntimeError("a bug")

    monkeypatch.setattr(_gate, "_inflate", inflate)
    await raw.hello(Feature.SNAPPY)
    with structlog.testing.capture_logs():
        await raw.send(
            encode_request(Opcode.SET, key=b"a", value=b"x", extras=EXTRAS, datatype=DataType.SNAPPY),
            encode_request(Opcode.SET, key=b"b", value=b"x", extras=EXTRAS),
        )
        assert [(await raw.receive()).status for _ in range(2)] == [Status.INTERNAL, 0]


async def test_a_read_that_fails_costs_its_request_alone(service, raw, monkeypatch) -> None:
    """In a run of plain GETs, too, which are read together."""
    for key in (b"a", b"b", b"c"):
        await raw.call(Opcode.SET, key=key, value=key, extras=EXTRAS)
    reader = service.inside.buckets.default.reader
    get = reader._get

    def damaged(key: bytes):
        if key == b"\0b":
            raise RuntimeError("a bug")
        return get(key)

    monkeypatch.setattr(reader, "_get", damaged)  # what reads of one key and of several have in common
    frames = [encode_request(Opcode.GET, key=key, opaque=number) for number, key in enumerate((b"a", b"b", b"c", b"b", b"a"))]
    with structlog.testing.capture_logs():
        await raw.send(*frames, encode_request(Opcode.NOOP))
        replies = [await raw.receive() for _ in range(6)]
    assert [(reply.opaque, reply.status) for reply in replies[:5]] == [(0, 0), (1, 0x84), (2, 0), (3, 0x84), (4, 0)]


# Statistics


async def test_general_statistics(raw) -> None:
    await raw.call(Opcode.SET, key=b"key", value=b"value", extras=EXTRAS)
    await raw.call(Opcode.GET, key=b"key")
    await raw.call(Opcode.GET, key=b"none")
    rows = await stat(raw)
    assert int(rows[b"pid"]) == os.getpid()
    for name in (b"uptime", b"time", b"version", b"curr_connections", b"total_connections", b"bytes_read", b"bytes_written"):
        assert name in rows
    assert (rows[b"cmd_get"], rows[b"get_hits"], rows[b"get_misses"]) == (b"2", b"1", b"1")
    assert (rows[b"cmd_set"], rows[b"curr_items"], rows[b"curr_connections"]) == (b"1", b"1", b"1")
    assert int(rows[b"bytes_read"]) > 50
    assert await stat(raw, b"reset") == {}
    assert (await stat(raw))[b"cmd_get"] == b"0"


async def test_all_groups(raw) -> None:
    await raw.call(Opcode.HELLO, key=b"agent", value=b"\0\7")
    await raw.call(Opcode.GET, key=b"none")
    settings = await stat(raw, b"settings")
    for name in (b"maxconns", b"evictions", b"cas_enabled", b"flush_enabled", b"domain_socket", b"verbosity", b"item_size_max"):
        assert name in settings
    assert settings[b"item_size_max"] == b"100000"
    (connection,) = (await stat(raw, b"connections")).values()
    described = json.loads(connection)
    assert described["agent"] == "agent"
    assert described["spool"]["turns"] == 1
    timings = await stat(raw, b"timings")
    assert timings[b"get_count"] == b"1"
    assert int(timings[b"get_p99"]) > 0
    assert (await stat(raw, b"engine"))[b"kind"] == b"memory"
    assert int((await stat(raw, b"spool"))[b"turns"]) == 4
    assert await stat(raw, b"detail on") == {}
    assert await stat(raw, b"detail dump") == {b"detailed": b"END\r\n"}
    for key in (b"a:1", b"a:2", b"b"):
        await raw.call(Opcode.SET, key=key, value=b"v", extras=EXTRAS)
        await raw.call(Opcode.GET, key=key)
    lines = b"PREFIX a get 2 hit 2 set 2 del 0\r\nEND\r\n"
    assert await stat(raw, b"detail dump") == {b"detailed": lines}  # one packet, as in memcached
    assert await stat(raw, b"detail off") == {}


@pytest.mark.parametrize(
    "group", [b"nothing", b"settings x", b" x", b"detail", b"keys x", b"engine x", b"timings x", b"reset x", b"\xff"]
)
async def test_unknown_groups(raw, group: bytes) -> None:
    reply = await raw.call(Opcode.STAT, key=group)
    assert reply.status == Status.NOT_FOUND
    assert (await raw.call(Opcode.NOOP)).status == 0


async def test_spool_group_takes_no_argument(raw) -> None:
    assert (await raw.call(Opcode.STAT, key=b"spool x")).status == Status.NOT_FOUND


async def test_keys(raw) -> None:
    await fill(raw, 5000)
    rows = await stat(raw, b"keys")
    assert len(rows) == 5000
    assert list(rows) == sorted(rows)
    assert rows[b"key:000000"].startswith(b"size=10 expiry=0 cas=")


async def test_requests_behind_a_stream_are_answered_in_order(raw) -> None:
    await fill(raw, 2000)
    await raw.send(
        encode_request(Opcode.NOOP, opaque=1),
        encode_request(Opcode.STAT, key=b"keys", opaque=2),
        encode_request(Opcode.NOOP, opaque=3),
    )
    assert (await raw.receive()).opaque == 1
    count = 0
    while (await raw.receive()).key:
        count += 1
    assert count == 2000
    assert (await raw.receive()).opaque == 3


async def test_a_stream_that_fails_is_one_error_frame(service, monkeypatch) -> None:
    def failing(shared, bucket, argument):
        def rows():
            yield Row("first", 1)
            raise RuntimeError("in the middle")

        return rows()

    monkeypatch.setitem(GROUPS, "failing", Group("failing", failing))
    async with service.connect() as raw:
        assert (await raw.call(Opcode.STAT, key=b"failing", opaque=1)).key == b"first"
        reply = await raw.receive()
        assert (reply.status, reply.opaque) == (Status.INTERNAL, 1)
        assert (await raw.call(Opcode.NOOP)).status == 0


async def test_stalled_streams_hold_no_worker(run_service) -> None:
    async with run_service(workers=1, window=20_000, batch=5_000) as service, service.connect() as filler:
        await fill(filler, 20_000)
        stalled = []
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                raw = await nursery.start(_hold, service)
                raw.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await raw.send(encode_request(Opcode.STAT, key=b"keys"))
                stalled.append(raw)
            with trio.fail_after(60):
                assert len(await stat(filler, b"keys")) == 20_000
            nursery.cancel_scope.cancel()


async def _hold(service, task_status) -> None:
    async with service.connect() as raw:
        task_status.started(raw)
        await trio.sleep_forever()


async def test_a_client_that_leaves_ends_its_stream(service) -> None:
    async with service.connect() as watcher:
        await fill(watcher, 30_000, 50)
        async with service.connect() as raw:
            await raw.send(encode_request(Opcode.STAT, key=b"keys"))
            await raw.receive()
        with trio.fail_after(60):
            while (await stat(watcher))[b"curr_connections"] != b"1":
                await trio.sleep(0.01)
        assert (await stat(watcher, b"spool"))[b"workers_busy"] in (b"0", b"1")  # this very statistic has a worker


async def test_look_ahead_is_bounded(run_service) -> None:
    async with run_service(look_ahead=1000, window=20_000) as service, service.connect() as filler:
        await fill(filler, 30_000)
        async with service.connect() as raw:
            await raw.send(encode_request(Opcode.STAT, key=b"keys"))
            await raw.send(encode_request(Opcode.NOOP, opaque=9) * 3000)
            count = 0
            while (await raw.receive()).key:
                count += 1
            assert count == 30_000
            for _ in range(3000):
                assert (await raw.receive()).opaque == 9


async def test_replies_to_a_peer_that_does_not_read_are_bounded(run_service) -> None:
    async with run_service(window=50_000) as service, service.connect() as watcher:
        await watcher.call(Opcode.SET, key=b"big", value=b"x" * 20_000, extras=EXTRAS)
        async with service.connect() as raw:
            with trio.move_on_after(0.5):
                while True:
                    await raw.send(encode_request(Opcode.GET, key=b"big") * 100)
            connections = [json.loads(row) for row in (await stat(watcher, b"connections")).values()]
            # The window, and one exchange, which ends with the reply that crosses its size.
            assert max(connection["high_water"] for connection in connections) <= 50_000 + 256 * 1024 + 20_100


# The end


async def test_drain_ends_idle_connections(run_service) -> None:
    async with run_service() as service, service.connect() as idle, service.connect() as half:
        await idle.call(Opcode.NOOP)
        await half.send(encode_request(Opcode.NOOP)[:10])
        await wait_all_tasks_blocked()
        service.stop.set()
        assert await idle.closed()
        await half.send(encode_request(Opcode.NOOP)[10:])
        assert (await half.receive()).status == 0
        assert await half.closed()
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", service.port)


async def test_drain_lets_a_stream_finish(run_service) -> None:
    async with run_service(window=10_000, drain_timeout=60) as service, service.connect() as raw:
        await fill(raw, 30_000)
        await raw.send(encode_request(Opcode.STAT, key=b"keys"))
        await raw.receive()
        service.stop.set()
        count = 1
        while (await raw.receive()).key:
            count += 1
        assert count == 30_000
        assert await raw.closed()


async def test_drain_has_a_deadline(run_service) -> None:
    async with run_service(window=10_000, drain_timeout=0.05) as service, service.connect() as raw:
        await fill(raw, 30_000)
        await raw.send(encode_request(Opcode.STAT, key=b"keys"))
        await raw.receive()
        service.stop.set()
        await trio.sleep(0.2)
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            while (await raw.receive()).key:
                pass


async def test_connections_above_the_limit_are_closed(run_service) -> None:
    async with run_service(max_connections=2) as service, service.connect() as first, service.connect() as second:
        await first.call(Opcode.NOOP)
        await second.call(Opcode.NOOP)
        async with service.connect() as third:
            assert await third.closed()
        assert (await stat(first))[b"rejected_connections"] == b"1"


async def test_send_timeout_closes(run_service) -> None:
    async with run_service(send_timeout=0.1) as service, service.connect() as watcher:
        await fill(watcher, 40_000, 50)
        async with service.connect() as raw:
            await raw.send(encode_request(Opcode.STAT, key=b"keys") * 10)
            with trio.fail_after(60):
                while (await stat(watcher))[b"curr_connections"] != b"1":
                    await trio.sleep(0.02)


async def test_a_connection_that_has_ended_is_gone(service, until) -> None:
    """Without the help of the collector, which may not come by for long."""
    gc.collect()
    gc.disable()
    try:
        async with service.connect() as raw:
            assert (await raw.call(Opcode.STAT, key=b"threads")).status == 0
            (connection,) = service.inside.connections
            ended = weakref.ref(connection)
            del connection
        await until(lambda: not service.inside.connections)
        await trio.testing.wait_all_tasks_blocked()
        assert ended() is None
    finally:
        gc.enable()


async def test_a_service_runs_once(service) -> None:
    with pytest.raises(RuntimeError, match="runs once"):
        await service.service.run(stop=trio.Event())


# Listening


async def test_unix_socket(run_service, tmp_path) -> None:
    path = str(tmp_path / "socket")
    for _ in range(2):
        async with run_service(listen=("tcp://127.0.0.1:0", f"unix:{path}")) as service:
            assert service.addresses[1] == f"unix:{path}"
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(encode_request(Opcode.NOOP))
                assert len(await stream.receive_some(100)) == 24
                await stream.send_all(encode_request(Opcode.STAT, key=b"settings"))
                received = b""
                while path.encode() not in received:
                    received += await stream.receive_some(65536)
        assert not os.path.exists(path)
        # A socket left behind by a service that was killed is no obstacle.
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize(("options", "mode"), [({}, 0o700), ({"unix_mode": 0o660}, 0o660)])
async def test_the_mode_of_a_unix_socket(run_service, tmp_path, umask: int, options: dict, mode: int) -> None:
    path = tmp_path / "socket"
    before = os.umask(umask)
    try:
        async with run_service(listen=("tcp://127.0.0.1:0", f"unix:{path}"), **options) as service:
            assert path.stat().st_mode & 0o777 == mode
            async with service.connect() as raw:
                rows = await stat(raw, b"settings")
                assert (rows[b"umask"], rows[b"tcp_backlog"], rows[b"domain_socket"]) == (b"%o" % mode, b"1024", str(path).encode())
    finally:
        os.umask(before)


async def test_unix_socket_path_in_the_way(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ListenError, match="file: the path is a file that is not a socket"):
        await serve(Settings(listen=(f"unix:{path}",), engine="memory"))
    assert path.read_text() == "precious"
    with pytest.raises(ListenError, match="the path is a directory"):
        await serve(Settings(listen=(f"unix:{tmp_path}",), engine="memory"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ListenError, match="a file that is not a socket"):
        await serve(Settings(listen=(f"unix:{tmp_path / 'link'}",), engine="memory"))
    in_use = tmp_path / "live"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(in_use))
        live.listen()
        with pytest.raises(ListenError, match="in use by another program; stop that, or choose another path"):
            await serve(Settings(listen=(f"unix:{in_use}",), engine="memory"))


async def test_port_in_use(service) -> None:
    with pytest.raises(ListenError, match=f":{service.port}: it is in use"):
        await serve(Settings(listen=(f"tcp://127.0.0.1:{service.port}",), engine="memory"))


async def test_a_port_that_another_address_takes() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused_port = free.getsockname()[1]
    addresses = (f"tcp://0.0.0.0:{unused_port}", f"tcp://127.0.0.1:{unused_port}")
    with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{unused_port}: it is in use by tcp://0\.0\.0\.0:{unused_port}, or"):
        await serve(Settings(listen=addresses, engine="memory", no_auth=True))


async def test_host_unknown() -> None:
    with pytest.raises(ListenError, match="can't be resolved"):
        await serve(Settings(listen=("tcp://no.such.host.invalid:0",), engine="memory", no_auth=True))


async def test_ipv6(run_service) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        async with run_service(listen=("tcp://[::1]:0",)) as service:
            assert service.addresses[0].startswith("tcp://[::1]:")
    except ListenError:
        pytest.skip("no IPv6 loopback here")


@pytest.mark.parametrize(
    "values",
    [
        {"listen": ()},
        {"listen": ("http://127.0.0.1:1",)},
        {"listen": ("tcp://127.0.0.1:70000",)},
        {"listen": ("unix:",)},
        {"listen": ("tcp://0.0.0.0:0",)},
        {"listen": ("tcp://example.com:0",)},
        {"window": 0},
        {"engine": "papyrus"},
        {"fsync": "sometimes"},
        {"max_item_size": 10**9},
        {"send_timeout": 0},
    ],
)
def test_settings_are_validated(values: dict) -> None:
    with pytest.raises(SettingsError):
        Settings(**values)


def test_no_auth_lifts_the_restriction() -> None:
    assert Settings(listen=("tcp://0.0.0.0:1",), no_auth=True).connection_bytes > 0


async def test_lmdb_needs_a_directory(tmp_path) -> None:
    with pytest.raises(SettingsError, match="data directory"):
        await serve(Settings(listen=("tcp://127.0.0.1:0",)))
    (tmp_path / "foreign").write_text("x")
    with pytest.raises(DataDirectoryError):
        await serve(Settings(listen=("tcp://127.0.0.1:0",), data_dir=tmp_path))
