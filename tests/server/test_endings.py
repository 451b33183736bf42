"""Why connections end: one line for each, with the right reason for every way in which a connection can end."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from support.engines import Hooks
from support.lines import LineContext, LineGuest
from support.service import Raw, Served, wait_until
from support.users import ANN, PASSWORD, write_users
from trio_spool.engine import Outcome, Problem
from trio_spool.mcbp import Opcode, encode_request
from trio_spool.server._connection import Connection
from trio_spool.server.shared import Cause, Listener, Tuning

EXTRAS = bytes(8)
SET = encode_request(Opcode.SET, key=b"key", value=b"v" * 1000, extras=EXTRAS)
STAT_KEYS = encode_request(Opcode.STAT, key=b"keys")
RESET = struct.pack("ii", 1, 0)


class Stage:
    """What a case plays on.

    Attributes:
        run: Runs a service until a block ends.
        clock: The service's clock.
    """

    def __init__(self, run_service: Any, clock: Clock, authority: Any, users: Any) -> None:
        self.clock = clock
        self.authority = authority
        self.users = users
        self._run = run_service

    @asynccontextmanager
    async def serving(self, **settings: Any) -> Any:
        async with self._run(log_level="debug", tuning=Tuning(clock=self.clock, farewell=0.01), **settings) as service:
            yield service

    @asynccontextmanager
    async def connected(self, **settings: Any) -> Any:
        async with self.serving(**settings) as service, service.connect() as raw:
            yield service, raw

    async def look_later(self, service: Served, seconds: float) -> None:
        """Let time pass, and look at the limits before and after."""
        for late in (0.0, seconds):
            self.clock.now += late
            await wait_all_tasks_blocked(0.002)
            for connection in service.inside.connections:
                service.inside.timekeeper.look(connection)


Case = Callable[[Stage], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(cause: Cause, more: str = "") -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES[f"{cause.value}{':' if more else ''}{more}"] = function
        return function

    return add


async def ended(service: Served, count: int = 0) -> None:
    await wait_until(lambda: len(service.inside.connections) == count)


@case(Cause.CLIENT_CLOSED)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.NOOP)
        await raw.stream.aclose()
        await ended(service)


@case(Cause.CLIENT_CLOSED, "without a word")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.stream.aclose()
        await ended(service)


@case(Cause.CLIENT_CLOSED, "while a reply is streamed")
async def _(stage: Stage) -> None:
    async with stage.connected(window=10_000) as (service, raw):
        await stall(service, raw)
        await raw.stream.send_eof()
        await ended(service)


@case(Cause.CLIENT_CLOSED_EARLY)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(SET[:100])
        await raw.stream.aclose()
        await ended(service)


@case(Cause.CLIENT_CLOSED_EARLY, "in a value that is skipped")
async def _(stage: Stage) -> None:
    async with stage.connected(max_item_size=100) as (service, raw):
        await raw.send(SET[:100])
        assert (await raw.receive()).status
        await raw.stream.aclose()
        await ended(service)


@case(Cause.RESET)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.NOOP)
        raw.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await raw.stream.aclose()
        await ended(service)


@case(Cause.RESET, "while a reply is streamed")
async def _(stage: Stage) -> None:
    async with stage.connected(window=10_000) as (service, raw):
        await stall(service, raw)
        raw.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await raw.stream.aclose()
        await ended(service)


class Lost(trio.abc.Stream):
    """A stream that breaks because of an error of the system."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError from self._error

    async def send_all(self, data: Any) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@case(Cause.NETWORK)
async def _(stage: Stage) -> None:
    """What a missing answer to keepalive ends in; nothing can be made to be silent here."""
    async with stage.serving() as service:
        connection = Connection(service.inside, 1, "peer", Listener(), service.service.reception._detect)
        await connection.run(Lost(TimeoutError(errno.ETIMEDOUT, "timed out")))
        connection.log_end("nowhere")
        assert connection._why


@case(Cause.QUIT)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.QUIT)
        await ended(service)


@case(Cause.QUIT, "quietly, with more behind it")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(encode_request(Opcode.QUITQ), SET)
        await ended(service)


@case(Cause.UNKNOWN_PROTOCOL)
async def _(stage: Stage) -> None:
    async with stage.connected(detect=lambda first: None) as (service, raw):
        await raw.send(b"\0")
        await ended(service)


@case(Cause.UNKNOWN_PROTOCOL, "that is switched off")
async def _(stage: Stage) -> None:
    async with stage.connected(protocols="binary") as (service, raw):
        await raw.send(b"get k\r\n")
        await ended(service)


@case(Cause.UNKNOWN_PROTOCOL, "HTTP")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(b"GET / HTTP/1.1\r\n\r\n")
        await ended(service)


@case(Cause.QUIT, "in text")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(b"get k\r\nquit\r\n")
        await ended(service)


@case(Cause.BAD_BYTES, "in text")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(b"x" * 3000)
        await ended(service)


@case(Cause.CLIENT_CLOSED_EARLY, "in text")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(b"set k 0 0 100\r\nv")
        await raw.stream.aclose()
        await ended(service)


@case(Cause.BAD_BYTES)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(encode_request(Opcode.NOOP), b"?" * 30)
        await ended(service)


@case(Cause.BAD_BYTES, "a length that can't be")
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(SET[:8] + b"\xff\xff\xff\xff" + SET[12:24])
        await ended(service)


@case(Cause.BAD_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.send(encode_request(Opcode.NOOP, key=b"a NOOP has no key"))
        await ended(service)


@case(Cause.LOGIN_MISSING)
async def _(stage: Stage) -> None:
    async with stage.connected(users=stage.users) as (service, raw):
        await raw.send(encode_request(Opcode.GET, key=b"k"))
        await ended(service)


@case(Cause.LOGIN_TIMEOUT)
async def _(stage: Stage) -> None:
    async with stage.connected(users=stage.users, login_timeout=10) as (service, _):
        await stage.look_later(service, 11)
        await ended(service)


@case(Cause.FRAME_TIMEOUT)
async def _(stage: Stage) -> None:
    async with stage.connected(frame_timeout=10) as (service, raw):
        await raw.send(SET[:100])
        await stage.look_later(service, 11)
        await raw.stream.aclose()
        await ended(service)


@case(Cause.IDLE_TIMEOUT)
async def _(stage: Stage) -> None:
    async with stage.connected(idle_timeout=10) as (service, raw):
        await raw.call(Opcode.NOOP)
        await stage.look_later(service, 11)
        await ended(service)


async def stall(service: Served, raw: Raw) -> None:
    """Have a reply streamed until the client would have to read it."""
    for start in range(0, 20_000, 1000):
        frames = [encode_request(Opcode.SETQ, key=b"%0200d" % number, extras=EXTRAS) for number in range(start, start + 1000)]
        await raw.send(*frames)
        await raw.call(Opcode.NOOP)
    raw.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # more than the sockets on the way take
    await raw.send(STAT_KEYS)
    (connection,) = service.inside.connections
    await wait_until(lambda: str(connection.describe()["waits_for"]).startswith("the client, which has read nothing"))
    await wait_all_tasks_blocked(0.01)


@case(Cause.SEND_TIMEOUT)
async def _(stage: Stage) -> None:
    async with stage.connected(send_timeout=0.05, window=10_000) as (service, raw):
        await stall(service, raw)
        await ended(service)


@case(Cause.MIN_READ_RATE)
async def _(stage: Stage) -> None:
    async with stage.connected(min_read_rate=1_000_000, window=10_000) as (service, raw):
        await stall(service, raw)
        await stage.look_later(service, 30)
        await ended(service)


@case(Cause.MAX_BUFFERED)
async def _(stage: Stage) -> None:
    """That it is this cause which the buffers give is in their tests."""
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.NOOP)
        next(iter(service.inside.connections)).break_off(Cause.MAX_BUFFERED)
        await ended(service)


@case(Cause.BUCKET_DELETED)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.NOOP)
        service.inside.leave(service.inside.buckets.default, but=0)
        await ended(service)


@case(Cause.TLS)
async def _(stage: Stage) -> None:
    async with stage.serving(listen=("tls://127.0.0.1:0",), **stage.authority.files) as service, service.connect() as raw:
        await raw.send(b"no handshake")
        await ended(service)


@case(Cause.TLS, "after the handshake")
async def _(stage: Stage) -> None:
    async with stage.serving(listen=("tls://127.0.0.1:0",), **stage.authority.files) as service:
        async with service.connect(stage.authority.client()) as raw:
            await raw.call(Opcode.NOOP)
            await raw.stream.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
            await ended(service)


@case(Cause.RESET, "below TLS")
async def _(stage: Stage) -> None:
    async with stage.serving(listen=("tls://127.0.0.1:0",), **stage.authority.files) as service:
        async with service.connect(stage.authority.client()) as raw:
            await raw.call(Opcode.NOOP)
            raw.stream.transport_stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            await raw.stream.transport_stream.aclose()
            await ended(service)


class Failing(LineGuest):
    """Speaks lines. What is asked for begins a reply that fails half-way; a store is a bug."""

    def _get(self, key: bytes) -> None:
        def fragments() -> Iterator[bytes]:
            yield b"half"
            yield b"." * 100_000
            raise RuntimeError("no second half")

        async def work(context: LineContext) -> None:
            await context.spool_whole(fragments())

        self._exchange.later(work)

    def _set(self, rest: bytes) -> None:
        raise RuntimeError("a bug")


@case(Cause.REPLY_INCOMPLETE)
async def _(stage: Stage) -> None:
    async with stage.connected(detect=lambda first: Failing, window=1000) as (service, raw):
        await raw.send(b"get k\n")
        await ended(service)


@case(Cause.REPLY_INCOMPLETE, "held back")
async def _(stage: Stage) -> None:
    async with stage.connected(detect=lambda first: Failing, window=1000, max_stream_rate=1 << 40) as (service, raw):
        await raw.send(b"get k\n")
        await ended(service)


@case(Cause.ERROR)
async def _(stage: Stage) -> None:
    async with stage.connected(detect=lambda first: Failing) as (service, raw):
        await raw.send(b"set k v\n")
        await ended(service)


@case(Cause.ENGINE_FAILED)
async def _(stage: Stage) -> None:
    hooks = Hooks()
    async with stage.connected(engine=hooks.kind()) as (service, raw):
        token = trio.lowlevel.current_trio_token()
        hooks.engines[0].submit = lambda operations, done: token.run_sync_soon(done, [Outcome(Problem.UNKNOWN)])
        await raw.send(SET)
        await ended(service)


@case(Cause.DRAIN)
async def _(stage: Stage) -> None:
    async with stage.connected() as (service, raw):
        await raw.call(Opcode.NOOP)
        service.stop.set()
        assert await raw.closed()


@case(Cause.DRAIN_TIMEOUT)
async def _(stage: Stage) -> None:
    async with stage.connected(drain_timeout=0.05, window=10_000) as (service, raw):
        await stall(service, raw)
        service.stop.set()
        await ended(service)


def test_there_is_a_case_for_every_cause() -> None:
    assert {name.partition(":")[0] for name in CASES} == {cause.value for cause in Cause}


@pytest.fixture
def stage(run_service, clock, authority, tmp_path) -> Stage:
    return Stage(run_service, clock, authority, write_users(tmp_path / "users.json", ANN))


@pytest.mark.parametrize("name", CASES)
async def test_the_reason_is_the_first_cause(stage: Stage, name: str) -> None:
    with capture_logs() as logs:
        await CASES[name](stage)
    (line,) = [entry for entry in logs if entry["event"] == "connection ended"]
    assert line["reason"] == name.partition(":")[0]
    assert line["log_level"] == "debug"


async def test_what_the_line_says(run_service, tmp_path, authority) -> None:
    settings = {"users": write_users(tmp_path / "users.json", ANN), "listen": ("tls://127.0.0.1:0",), **authority.files}
    with capture_logs() as logs:
        async with run_service(log_level="debug", **settings) as service:
            async with service.connect(authority.client()) as raw:
                await raw.call(Opcode.HELLO, key=b'{"a":"agent\\n1","i":"x"}')
                assert await raw.login("ann", PASSWORD) == 0
                await raw.call(Opcode.SET, key=b"key", value=b"secret value", extras=EXTRAS)
            await ended(service)
            assert dict(service.inside.connections.causes) == {Cause.CLIENT_CLOSED: 1}
    (line,) = [entry for entry in logs if entry["event"] == "connection ended"]
    assert line["peer"].startswith("127.0.0.1:")
    assert line["listener"] == service.addresses[0]
    assert (line["connection"], line["agent"], line["user"], line["bucket"], line["commands"]) == (
        1,
        "agent\n1",
        "ann",
        "default",
        3,
    )
    assert line["bytes_read"] > 100 and line["bytes_written"] > 70 and line["seconds"] >= 0


async def test_without_the_level_there_is_no_line(run_service) -> None:
    with capture_logs() as logs:
        async with run_service(log_level="info") as service, service.connect() as raw:
            await raw.call(Opcode.NOOP)
            await raw.stream.aclose()
            await ended(service)
    assert [entry["event"] for entry in logs] == ["started"]


# What was cut off


async def test_a_command_that_is_cut_off(run_service) -> None:
    with capture_logs() as logs:
        async with run_service(log_level="info", window=10_000, batch=1000) as service, service.connect() as raw:
            await stall(service, raw)
            read = len(await raw.stream.receive_some(100_000))
            await raw.stream.aclose()
            await ended(service)
    (line,) = [entry for entry in logs if entry["event"] == "a command was cut off"]
    assert (line["command"], line["log_level"], line["connection"]) == ("stat", "info", 1)
    assert line["reason"] in ("client-closed", "reset")
    assert line["sent"] >= read
    assert 0 < line["items"] < 20_000
    assert line["seconds"] > 0
    assert not any("0" * 100 in str(value) for value in line.values())  # no keys


async def test_a_mutation_whose_client_does_not_hear_of_it(run_service) -> None:
    hooks = Hooks()
    with capture_logs() as logs:
        async with run_service(log_level="info", engine=hooks.kind(), drain_timeout=0.01) as service, service.connect() as raw:
            hooks.engines[0].submit = lambda operations, done: None  # a writer that hangs
            await raw.send(SET, encode_request(Opcode.DELETE, key=b"k"))
            await wait_until(lambda: bool(next(iter(service.inside.connections)).describe().get("current")))
            service.stop.set()
            await ended(service)
    (line,) = [entry for entry in logs if entry["event"] == "a command was cut off"]
    assert (line["command"], line["sent"], line["reason"]) == ("set", 0, "drain-timeout")


# Secrets


async def test_no_secret_is_logged(run_service, tmp_path) -> None:
    """Values and passwords, also in what is refused or makes no sense."""
    secret = b"s3cr3t"
    frames = [
        encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0ann\0" + secret),
        encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=secret),
        encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0\0\0" + secret),
        encode_request(Opcode.SASL_AUTH, key=b"SCRAM-SHA256", value=b"n,,n=ann,r=" + secret),
        encode_request(Opcode.SASL_AUTH, key=b"SCRAM-SHA256", value=b"p=x,,n=" + secret),
        encode_request(Opcode.SASL_STEP, key=b"SCRAM-SHA256", value=b"c=biws,r=x,p=" + secret),
        encode_request(Opcode.SASL_AUTH, key=b"UNKNOWN", value=secret),
        encode_request(Opcode.HELLO, key=b'{"a":"agent"}', value=secret + b"x"),
        encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0ann\0" + PASSWORD.encode()),
        encode_request(Opcode.SET, key=b"k", value=secret, extras=EXTRAS),
        encode_request(Opcode.INCREMENT, key=b"k", extras=bytes(20)),
        encode_request(Opcode.SUBDOC_DICT_UPSERT, key=b"k", extras=b"\0\1\0", value=b"a" + secret),
        encode_request(Opcode.SET, key=b"k", value=secret, extras=bytes(7)),
    ]
    with capture_logs() as logs:
        async with run_service(
            log_level="debug", users=write_users(tmp_path / "users.json", ANN), tuning=Tuning(first_refusal=0.0)
        ) as service:
            for behind in (b"", secret * 10):
                async with service.connect() as raw:
                    await raw.send(*frames, behind)
                    for _ in frames:
                        await raw.receive()
                    await raw.stream.aclose()
                await ended(service)
    text = repr(logs)
    assert "connection ended" in text and "login refused" in text
    assert secret.decode() not in text and PASSWORD not in text and secret.hex() not in text
