"""A service in the test's own event loop, and raw connections to it."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_spool.mcbp import NEED_DATA, Feature, KeyRule, Opcode, Response, ResponseDecoder, encode_request
from trio_spool.server import Service, Settings
from trio_spool.server.protocols.binary import TABLE
from trio_spool.server.shared import Tuning


class Raw:
    """A connection that sends any bytes and decodes what comes back."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream: Any = stream
        self._decoder = ResponseDecoder()

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def receive(self) -> Response:
        while (event := self._decoder.next_event()) is NEED_DATA:
            data = await self.stream.receive_some(65536)
            assert data, "the server closed the connection"
            self._decoder.receive_data(bytes(data))
        return event

    async def call(self, opcode: int, **kwargs: Any) -> Response:
        await self.send(encode_request(opcode, **kwargs))
        return await self.receive()

    async def stat(self, group: bytes = b"") -> dict[bytes, bytes]:
        """Return a group of statistics."""
        await self.send(encode_request(Opcode.STAT, key=group))
        rows = {}
        while (row := await self.receive()).key:
            rows[row.key] = row.value
        assert row.status == 0
        return rows

    async def running(self) -> list[dict[str, Any]]:
        """Return the descriptions of the long commands that are running."""
        rows = await self.stat(b"tasks")
        return [json.loads(value) for name, value in rows.items() if name.isdigit()]

    async def hello(self, *features: Feature) -> None:
        value = b"".join(feature.to_bytes(2, "big") for feature in features)
        assert (await self.call(Opcode.HELLO, value=value)).value == value

    async def login(self, user: str, password: str) -> int:
        """Log in by PLAIN, and return the status."""
        value = f"\0{user}\0{password}".encode()
        return (await self.call(Opcode.SASL_AUTH, key=b"PLAIN", value=value)).status

    @staticmethod
    def plain_frame(opcode: int, **kwargs: Any) -> bytes:
        """Encode a request of an opcode that has the right shape, and as little as it may."""
        shape = TABLE.shapes[opcode]
        if shape is not None:
            kwargs.setdefault("extras", bytes(min(shape.extras)))
            kwargs.setdefault("key", b"k" if shape.key is KeyRule.REQUIRED else b"")
        return encode_request(opcode, **kwargs)

    async def rest(self) -> bytes:
        """Read to the end, and return what came, in whatever protocol."""
        rest = b""
        with trio.fail_after(20):
            while data := await self.stream.receive_some(65536):
                rest += data
        return rest

    async def closed(self) -> bool:
        """Read to the end. Return whether nothing more came than what `receive` has returned."""
        rest = b""
        with trio.fail_after(20):  # below the time after which a service closes by itself what does not log in
            try:
                while data := await self.stream.receive_some(65536):
                    rest += data
            except trio.BrokenResourceError:
                pass
        return rest == b"" and not self._decoder.buffered


class Served:
    """A running service.

    Attributes:
        service: The service itself.
        inside: What its connections share.
    """

    def __init__(self, addresses: list[str], stop: trio.Event, service: Service) -> None:
        self.service = service
        self.inside = service.shared
        self.addresses = addresses
        self.port = int(addresses[0].rsplit(":", 1)[1])
        self.stop = stop

    @asynccontextmanager
    async def connect(self, tls: ssl.SSLContext | None = None, index: int = 0) -> AsyncIterator[Raw]:
        """Connect to one of the addresses, by TLS if there is a context for it."""
        stream = await trio.open_tcp_stream("127.0.0.1", int(self.addresses[index].rsplit(":", 1)[1]))
        async with stream:
            if tls is None:
                yield Raw(stream)
            else:
                encrypted = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
                await encrypted.do_handshake()
                yield Raw(encrypted)


async def start_service(nursery: trio.Nursery, *, tuning: Tuning | None = None, detect: Any = None, **values: Any) -> Served:
    """Start a service with these settings: on a free port, and in memory unless there is a data directory.

    `tuning` and `detect` are those of `Service`.
    """
    engine = "lmdb" if "data_dir" in values else "memory"
    options = Settings(**{"listen": ("tcp://127.0.0.1:0",), "engine": engine, **values})
    stop = trio.Event()
    service = Service(options, tuning=tuning, **({} if detect is None else {"detect": detect}))

    async def run(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        await service.run(task_status=task_status, stop=stop)

    return Served(await nursery.start(run), stop, service)


@asynccontextmanager
async def run_service(**values: Any) -> AsyncIterator[Served]:
    """Run a service with these settings until the block ends."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            served = await start_service(nursery, **values)
            yield served
            served.stop.set()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks and threads bring about."""
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.001)
