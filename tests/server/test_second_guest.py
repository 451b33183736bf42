"""A second protocol on the same port: the seam between a connection and what is spoken on it holds."""

from __future__ import annotations

import pytest
import trio

from support.engines import Hooks
from support.lines import detect_lines
from trio_spool.mcbp import Opcode


class Lines:
    """A client of the toy protocol."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def send(self, text: bytes) -> None:
        await self._stream.send_all(text)

    async def line(self) -> bytes:
        while b"\n" not in self._received:
            data = await self._stream.receive_some(65536)
            assert data, "the server closed the connection"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    async def ask(self, text: bytes) -> bytes:
        await self.send(text + b"\n")
        return await self.line()


@pytest.fixture(params=[True, False], ids=["local", "remote"])
async def service(request, run_service):
    hooks = Hooks(local=request.param)
    async with run_service(detect=detect_lines, engine=hooks.kind(), window=4000, batch=1000, drain_timeout=1) as served:
        yield served


@pytest.fixture
async def lines(service):
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        yield Lines(stream)


async def test_get_and_set(service, lines) -> None:
    assert await lines.ask(b"get a") == b"none"
    assert await lines.ask(b"set a b c") == b"stored"
    await lines.send(b"get a\nset a d\nget a\nwhat\nse")
    assert [await lines.line() for _ in range(4)] == [b"value b c", b"stored", b"value d", b"refused"]
    assert await lines.ask(b"t a e") == b"stored"
    async with service.connect() as raw:  # both protocols see one store
        assert (await raw.call(Opcode.GET, key=b"a")).value == b"e"
        assert [connection.describe()["session"] for connection in service.inside.connections] == ["lines", "classic"]


async def test_large_values(lines) -> None:
    value = b"v" * 100_000
    assert await lines.ask(b"set a " + value) == b"stored"
    await lines.send(b"get a\n" * 100)
    for _ in range(100):
        assert await lines.line() == b"value " + value


async def test_scan(lines) -> None:
    assert await lines.ask(b"scan k") == b"end"
    await lines.send(b"".join(b"set k%04d v\n" % n for n in range(3000)) + b"set l v\n")
    assert [await lines.line() for _ in range(3001)] == [b"stored"] * 3001
    await lines.send(b"scan k\nget l\n")
    assert [await lines.line() for _ in range(3002)] == [*(b"key k%04d" % n for n in range(3000)), b"end", b"value v"]


async def test_leaving_in_a_scan(service, lines, until) -> None:
    await lines.send(b"".join(b"set k%04d %s\n" % (n, b"v" * 100) for n in range(3000)))
    for _ in range(3000):
        await lines.line()
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(b"scan k\n" * 100)
        await stream.receive_some(10)
    await until(lambda: len(service.inside.connections) == 1 and not list(service.inside.scans))
    assert service.inside.limiter.borrowed_tokens == 0


async def test_no_protocol_begins_so(service, until) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(b"\0get a\n")
        assert await stream.receive_some(10) == b""
    assert service.inside.counters.bad_requests == 1
