"""A connection: requests out, responses in, each to its call."""

from __future__ import annotations

import ssl
from collections import deque

import trio
from trio_util import AsyncValue

from .._core import Sender
from ..mcbp import NEED_DATA, RemoteProtocolError, Response, ResponseDecoder, encode_request, opcode_name
from ._calls import Call, Last
from ._errors import ClientError, ConnectionLostError

_READ_SIZE = 64 * 1024


class Connection:
    """What sends requests and takes responses. Any number of tasks may use it, without waiting for each other.

    Attributes:
        features: What the last HELLO was granted.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, sender: Sender, look_ahead: int) -> None:
        self._stream = stream
        self._sender = sender
        self.features: frozenset[int] = frozenset()
        self._calls: deque[Call] = deque()
        self._lost: ClientError | None = None
        self._answered = False
        self._look_ahead = look_ahead
        # Bytes of responses that were received and not yet taken, of those calls that `look_ahead` bounds.
        self._held: AsyncValue[int] = AsyncValue(0)

    async def _call(self, opcode: int, *, key: bytes = b"", extras: bytes = b"", value: bytes = b"", cas: int = 0) -> Response:
        call = await self.start(opcode, key=key, extras=extras, value=value, cas=cas)
        return await call.expect_success()

    async def start(
        self,
        opcode: int,
        *,
        key: bytes = b"",
        extras: bytes = b"",
        value: bytes = b"",
        cas: int = 0,
        datatype: int = 0,
        vbucket: int = 0,
        last: Last | None = None,
        held: bool = False,
    ) -> Call:
        """Send a request, as soon as there is room to queue it, and return what will have its responses."""
        frame = encode_request(opcode, key=key, extras=extras, value=value, cas=cas, datatype=datatype, vbucket=vbucket)
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
        call = Call(opcode, last, held=held)
        self._calls.append(call)
        await trio.lowlevel.checkpoint()
        return call

    async def _drain(self) -> None:
        try:
            await self._sender.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLostError(f"the connection is gone: {exc}") from exc

    def taken(self, response: Response) -> None:
        """Count a response that was held as taken: reading may go on."""
        self._held.value -= response.size

    def abandon(self, call: Call) -> None:
        """Drop the responses of a call, those that are there and those to come."""
        call.abandoned = True
        while call.responses:
            response = call.responses.popleft()
            if call.held:
                self.taken(response)

    def send_if_possible(self, opcode: int, *, extras: bytes) -> None:
        """Send a request whose response does not matter, unless the connection is gone or has no room."""
        try:
            self._sender.send_nowait(encode_request(opcode, extras=extras))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        call = Call(opcode)
        call.abandoned = True
        self._calls.append(call)

    async def receive(self) -> None:
        """Read responses and hand them to their calls, until the connection ends. Run by `open_client`."""
        decoder = ResponseDecoder()
        try:
            while data := await self._stream.receive_some(_READ_SIZE):
                decoder.receive_data(bytes(data))
                while (event := decoder.next_event()) is not NEED_DATA:
                    self._dispatch(event)
                if self._held.value >= self._look_ahead:  # without this, every read would cost another pass of the scheduler
                    await self._held.wait_value(lambda held: held < self._look_ahead)
            self._fail(ConnectionLostError(f"the server closed the connection{self._hint()}"))
        except RemoteProtocolError as exc:
            self._fail(ConnectionLostError(f"the server does not speak the memcached binary protocol: {exc}"))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._fail(ConnectionLostError(f"the connection broke: {_why(exc)}"))

    def _hint(self) -> str:
        """Say why a server may have left without a word: those that want TLS, or another certificate, do so."""
        if self._answered:
            return ""
        encrypted = isinstance(self._stream, trio.SSLStream)
        return f" before it answered anything: it may {'not like our certificate, or want one' if encrypted else 'want TLS'}"

    def _dispatch(self, response: Response) -> None:
        if not self._calls:
            raise RemoteProtocolError("a response that nobody asked for")
        self._answered = True
        call = self._calls[0]
        if response.opcode != call.opcode:
            raise RemoteProtocolError(f"a response to {opcode_name(response.opcode)}, not to {opcode_name(call.opcode)}")
        if call.last is None or response.status or call.last(response):
            self._calls.popleft()
        if not call.abandoned:
            call.responses.append(response)
            if call.held:
                self._held.value += response.size
            call.arrived.set()

    def _fail(self, error: ClientError) -> None:
        self._lost = error
        for call in self._calls:
            call.lost = error
            call.arrived.set()
        self._calls.clear()


def _why(error: Exception) -> str:
    """Say why a stream broke. With TLS 1.3, this is how a client learns that its certificate was refused, or that it needs one."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    return str(error) or str(cause or "the server is gone")
