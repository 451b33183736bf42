"""The client: requests out, responses in, each to its call."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .._core import Sender, open_sender, raise_the_one
from ..mcbp import (
    NEED_DATA,
    Feature,
    Opcode,
    RemoteProtocolError,
    Response,
    ResponseDecoder,
    encode_request,
    opcode_name,
)
from ._errors import ClientError, ConnectionLostError, error_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


_STORE_EXTRAS = struct.Struct(">LL")
_COUNT_EXTRAS = struct.Struct(">QQL")
_READ_SIZE = 64 * 1024


@attrs.frozen
class StoredValue:
    """What `Client.get` returns."""

    value: bytes
    flags: int
    cas: int


class _Call:
    """A request that is waiting for its response, or for several."""

    def __init__(self, opcode: int, *, many: bool) -> None:
        self.opcode = opcode
        self.many = many
        self.responses: deque[Response] = deque()
        self.arrived = trio.Event()
        self.lost: ClientError | None = None
        self.abandoned = False

    async def next_response(self) -> Response:
        while not self.responses:
            if self.lost is not None:
                raise self.lost
            self.arrived = trio.Event()
            await self.arrived.wait()
        return self.responses.popleft()

    async def expect_success(self) -> Response:
        response = await self.next_response()
        if response.status:
            raise error_of(response)
        return response


class Client:
    """A connection. Any number of tasks may use it: their requests are sent one after the other, without waiting for each other."""

    def __init__(self, stream: trio.abc.ReceiveStream, sender: Sender, look_ahead: int) -> None:
        self._stream = stream
        self._sender = sender
        self._calls: deque[_Call] = deque()
        self._lost: ClientError | None = None
        self._look_ahead = look_ahead
        self._space = trio.lowlevel.ParkingLot()
        self._held = 0  # responses received and not yet taken, of calls that get many

    # Requests

    async def get(self, key: bytes) -> StoredValue:
        """Return what is stored under a key.

        Raises:
            NotFoundError: Nothing is.
        """
        response = await self._call(Opcode.GET, key=key)
        return StoredValue(response.value, int.from_bytes(response.extras, "big"), response.cas)

    async def set(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, cas: int = 0) -> int:
        """Store a value and return its CAS.

        Args:
            key: 1 to 250 bytes.
            value: The bytes.
            flags: 32 bits that the server keeps with it.
            expiry: 0 for never, seconds up to thirty days, or a Unix time.
            cas: If not 0, the CAS that the stored value must have.

        Raises:
            ExistsError: The CAS is another one.
            NotFoundError: A CAS was given, and nothing is stored.
            TooBigError: The value is over the server's limit.
        """
        return (await self._call(Opcode.SET, key=key, value=value, extras=_STORE_EXTRAS.pack(flags, expiry), cas=cas)).cas

    async def add(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0) -> int:
        """Store a value where there is none; ExistsError if there is one."""
        return (await self._call(Opcode.ADD, key=key, value=value, extras=_STORE_EXTRAS.pack(flags, expiry))).cas

    async def replace(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, cas: int = 0) -> int:
        """Store a value where there is one; NotFoundError if there is none."""
        extras = _STORE_EXTRAS.pack(flags, expiry)
        return (await self._call(Opcode.REPLACE, key=key, value=value, extras=extras, cas=cas)).cas

    async def append(self, key: bytes, value: bytes) -> int:
        """Append to a value; NotStoredError if there is none."""
        return (await self._call(Opcode.APPEND, key=key, value=value)).cas

    async def prepend(self, key: bytes, value: bytes) -> int:
        """Prepend to a value; NotStoredError if there is none."""
        return (await self._call(Opcode.PREPEND, key=key, value=value)).cas

    async def delete(self, key: bytes, *, cas: int = 0) -> None:
        """Delete a key; NotFoundError if there is none, ExistsError if its CAS is not `cas`."""
        await self._call(Opcode.DELETE, key=key, cas=cas)

    async def increment(self, key: bytes, delta: int = 1, *, initial: int = 0, expiry: int = 0) -> int:
        """Add to a number and return it; a missing one is created with `initial`."""
        extras = _COUNT_EXTRAS.pack(delta, initial, expiry)
        return int.from_bytes((await self._call(Opcode.INCREMENT, key=key, extras=extras)).value, "big")

    async def decrement(self, key: bytes, delta: int = 1, *, initial: int = 0, expiry: int = 0) -> int:
        """Subtract from a number, down to 0, and return it; a missing one is created with `initial`."""
        extras = _COUNT_EXTRAS.pack(delta, initial, expiry)
        return int.from_bytes((await self._call(Opcode.DECREMENT, key=key, extras=extras)).value, "big")

    async def touch(self, key: bytes, expiry: int) -> None:
        """Give a key another expiry; NotFoundError if there is none."""
        await self._call(Opcode.TOUCH, key=key, extras=expiry.to_bytes(4, "big"))

    async def get_and_touch(self, key: bytes, expiry: int) -> StoredValue:
        """Give a key another expiry and return what is stored."""
        response = await self._call(Opcode.GAT, key=key, extras=expiry.to_bytes(4, "big"))
        return StoredValue(response.value, int.from_bytes(response.extras, "big"), response.cas)

    async def flush(self, delay: int = 0) -> None:
        """Delete everything, now or after some seconds."""
        await self._call(Opcode.FLUSH, extras=delay.to_bytes(4, "big") if delay else b"")

    async def noop(self) -> None:
        """Wait until everything before this has been answered."""
        await self._call(Opcode.NOOP)

    async def version(self) -> str:
        """Return the server's version."""
        return (await self._call(Opcode.VERSION)).value.decode()

    async def hello(self, agent: str, features: tuple[Feature, ...]) -> list[int]:
        """Negotiate features and return those that were granted."""
        value = struct.pack(f">{len(features)}H", *features)
        granted = (await self._call(Opcode.HELLO, key=agent.encode(), value=value)).value
        return [feature for (feature,) in struct.iter_unpack(">H", granted)]

    @asynccontextmanager
    async def stat(self, group: str = "") -> AsyncIterator[Statistics]:
        """Ask for a group of statistics, and iterate over them as they arrive.

        ::

            async with client.stat("keys") as statistics:
                async for name, value in statistics: ...

        Leaving the block early drops those that are still to come; the server sends them all the same.
        """
        call = await self._start(Opcode.STAT, key=group.encode(), many=True)
        try:
            yield Statistics(self, call)
        finally:
            call.abandoned = True
            self._held -= len(call.responses)
            self._space.unpark_all()

    async def store_nowait(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0) -> _Call:
        """Send a SET without waiting for its response: wait for that with `settle`. It waits only for room to queue it."""
        return await self._start(Opcode.SET, key=key, value=value, extras=_STORE_EXTRAS.pack(flags, expiry))

    async def settle(self, call: _Call) -> int:
        """Wait for the response to `store_nowait`, and return the CAS."""
        return (await call.expect_success()).cas

    # Underneath

    async def _call(self, opcode: int, *, key: bytes = b"", extras: bytes = b"", value: bytes = b"", cas: int = 0) -> Response:
        call = await self._start(opcode, key=key, extras=extras, value=value, cas=cas)
        return await call.expect_success()

    async def _start(
        self,
        opcode: int,
        *,
        key: bytes = b"",
        extras: bytes = b"",
        value: bytes = b"",
        cas: int = 0,
        many: bool = False,
    ) -> _Call:
        frame = encode_request(opcode, key=key, extras=extras, value=value, cas=cas)
        while True:
            if self._lost is not None:
                raise self._lost
            try:
                # The order of the calls must be that of the frames: nothing else may run between these two.
                self._sender.send_nowait(frame)
                break
            except trio.WouldBlock:
                await self._drain()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise ConnectionLostError(f"the connection is gone: {exc}") from exc
        call = _Call(opcode, many=many)
        self._calls.append(call)
        await trio.lowlevel.checkpoint()
        return call

    async def _drain(self) -> None:
        try:
            await self._sender.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLostError(f"the connection is gone: {exc}") from exc

    def taken(self) -> None:
        """Count a response of a call that gets many as taken: reading may go on."""
        self._held -= 1
        self._space.unpark_all()

    async def receive(self) -> None:
        """Read responses and hand them to their calls, until the connection ends. Run by `open_client`."""
        decoder = ResponseDecoder()
        try:
            while data := await self._stream.receive_some(_READ_SIZE):
                decoder.receive_data(bytes(data))
                while (event := decoder.next_event()) is not NEED_DATA:
                    self._dispatch(event)
                while self._held >= self._look_ahead:
                    await self._space.park()
            self._fail(ConnectionLostError("the server closed the connection"))
        except RemoteProtocolError as exc:
            self._fail(ConnectionLostError(f"the server does not speak the memcached binary protocol: {exc}"))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._fail(ConnectionLostError(f"the connection broke: {exc}"))

    def _dispatch(self, response: Response) -> None:
        if not self._calls:
            raise RemoteProtocolError("a response that nobody asked for")
        call = self._calls[0]
        if response.opcode != call.opcode:
            raise RemoteProtocolError(f"a response to {opcode_name(response.opcode)}, not to {opcode_name(call.opcode)}")
        if not call.many or response.status or not response.key:
            self._calls.popleft()
        if not call.abandoned:
            call.responses.append(response)
            self._held += call.many
            call.arrived.set()

    def _fail(self, error: ClientError) -> None:
        self._lost = error
        for call in self._calls:
            call.lost = error
            call.arrived.set()
        self._calls.clear()


class Statistics:
    """The names and values of a group of statistics. See `Client.stat`.

    Raises, while it is iterated over:
        NotFoundError: There is no such group.
    """

    def __init__(self, client: Client, call: _Call) -> None:
        self._client = client
        self._call = call

    def __aiter__(self) -> Statistics:
        """Return itself."""
        return self

    async def __anext__(self) -> tuple[bytes, bytes]:
        """Return the next name and value."""
        response = await self._call.expect_success()
        self._client.taken()
        if not response.key:
            raise StopAsyncIteration
        return response.key, response.value


def _reason(error: BaseException) -> str:
    """Find why connecting failed: Trio reports that all attempts did, and keeps each one's error beneath."""
    while True:
        if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
            return os.strerror(error.errno)
        inner = error.__cause__ or next(iter(getattr(error, "exceptions", ())), None)
        if inner is None:
            return getattr(error, "strerror", None) or str(error)
        error = inner


@asynccontextmanager
async def open_client(host: str, port: int, *, look_ahead: int = 4096) -> AsyncIterator[Client]:
    """Connect to a server.

    Args:
        host: A host name or an address.
        port: Its TCP port.
        look_ahead: Statistics that may arrive ahead of whoever iterates over them; above that, reading pauses.

    Raises:
        ConnectionLostError: The connection is refused, or the host is not known.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise ConnectionLostError(f"can't connect to {host}:{port}: {_reason(exc)}") from exc
    try:
        async with stream, open_sender(stream) as sender, trio.open_nursery() as nursery:
            client = Client(stream, sender, look_ahead)
            nursery.start_soon(client.receive)
            try:
                yield client
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_the_one(group)
