"""A connection, which sends requests and hands each response to its call."""

from __future__ import annotations

import math
import ssl
from collections import deque

import trio
from trio_util import AsyncValue

from .._core import Sender
from ..mcbp import NEED_DATA, RemoteProtocolError, Response, ResponseDecoder, encode_request, opcode_name
from ._calls import Call, Last
from ._errors import AnswerTimeoutError, ClientError, ConnectionLostError, EncryptionError
from ._silence import Silence

# The maximum number of bytes to read at once: picked, not measured.
_READ_SIZE = 64 * 1024


class Connection:
    """A connection. Any number of tasks may use it, without waiting for each other.

    Args:
        stream: The stream to read responses from.
        sender: Sends the requests.
        look_ahead: The number of bytes of responses that may wait to be taken before reading pauses; see `open_client`.
        answer_timeout: How long the server may be silent while a response is due, in seconds; see `open_client`.

    Attributes:
        features: The features that the last HELLO was granted.
        answer_timeout: How long the server may be silent while a response is due, in seconds.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, sender: Sender, look_ahead: int, answer_timeout: float = math.inf) -> None:
        self._stream = stream
        self._sender = sender
        self.answer_timeout = answer_timeout
        self.features: frozenset[int] = frozenset()
        self._calls: deque[Call] = deque()
        self._opaque = 0  # of the last request
        self._silence = Silence(self._calls, answer_timeout, lambda: sender.statistics().bytes)
        self._lost: ClientError | None = None
        self._answered = False
        self._look_ahead = look_ahead
        # The bytes of responses that were received and not yet taken, counting only calls that are `held`.
        self._held: AsyncValue[int] = AsyncValue(0)

    async def _call(
        self, opcode: int, *, key: bytes = b"", extras: bytes = b"", value: bytes = b"", cas: int = 0, timeout: float | None = None
    ) -> Response:
        call = await self.start(opcode, key=key, extras=extras, value=value, cas=cas, timeout=timeout)
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
        max_size: int | None = None,
        timeout: float | None = None,
    ) -> Call:
        """Send a request as soon as there is room to queue it, and return the call that will get its responses.

        Args:
            opcode: The opcode.
            key: The key.
            extras: The extras.
            value: The value.
            cas: The CAS.
            datatype: The datatype bits.
            vbucket: The vbucket.
            last: As for `Call`.
            held: As for `Call`.
            max_size: As for `Call`.
            timeout: As for `Call`.

        Raises:
            ClientError: The connection is lost.
            LocalProtocolError: The request does not fit a frame.
        """
        opaque = self._next_opaque()
        frame = encode_request(
            opcode, key=key, extras=extras, value=value, cas=cas, datatype=datatype, vbucket=vbucket, opaque=opaque
        )  # fmt: skip
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
        call = Call(opcode, opaque, last, held=held, max_size=max_size, timeout=timeout)
        self._expect(call)
        await trio.lowlevel.checkpoint()
        return call

    def _next_opaque(self) -> int:
        self._opaque = self._opaque + 1 & 0xFFFF_FFFF
        return self._opaque

    def _expect(self, call: Call) -> None:
        if not self._calls:
            self._silence.begin()
        self._calls.append(call)

    async def _drain(self) -> None:
        try:
            await self._sender.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLostError(f"the connection is gone: {exc}") from exc

    def taken(self, response: Response) -> None:
        """Count a response of a `held` call as taken, so that reading may go on."""
        self._held.value -= response.size

    def abandon(self, call: Call) -> None:
        """Drop the responses of a call, both those that have arrived and those still to come."""
        call.abandoned = True
        while call.responses:
            response = call.responses.popleft()
            if call.held:
                self.taken(response)

    def send_if_possible(self, opcode: int, *, extras: bytes) -> None:
        """Send a request and drop its response. Does nothing if the connection is gone or has no room for the request."""
        opaque = self._next_opaque()
        try:
            self._sender.send_nowait(encode_request(opcode, extras=extras, opaque=opaque))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        call = Call(opcode, opaque)
        call.abandoned = True
        self._expect(call)

    async def receive(self) -> None:
        """Read responses and hand them to their calls until the connection ends. Run by `open_client`."""
        decoder = ResponseDecoder()
        try:
            while data := await self._stream.receive_some(_READ_SIZE):
                if self._lost is not None:
                    return
                decoder.receive_data(bytes(data))
                whole = False
                while (event := decoder.next_event()) is not NEED_DATA:
                    self._dispatch(event)
                    whole = True
                self._silence.received(len(data), whole=whole)
                if self._held.value >= self._look_ahead:  # without this, every read would cost another pass of the scheduler
                    await self._wait_until_taken()
            self._fail(self._closed())
        except RemoteProtocolError as exc:
            self._fail(ConnectionLostError(f"the server does not speak the memcached binary protocol: {exc}"))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._fail(ConnectionLostError(f"the connection broke: {_why(exc)}"))

    async def _wait_until_taken(self) -> None:
        """Wait until enough of the responses of `held` calls are taken."""
        self._silence.pause()
        await self._held.wait_value(lambda held: held < self._look_ahead)
        self._silence.begin()

    async def watch(self) -> None:
        """Give the server up once it has been silent for too long. Run by `open_client`."""
        seconds = await self._silence.wait()
        self._fail(AnswerTimeoutError(f"the server sent nothing for {seconds:g} seconds while a response was due"))

    def _closed(self) -> ConnectionLostError:
        """Return the error, and why the server may have closed without an answer: it may want TLS, or another certificate."""
        if self._answered:
            return ConnectionLostError("the server closed the connection")
        closed = "the server closed the connection before it answered: it may want"
        if isinstance(self._stream, trio.SSLStream):
            return ConnectionLostError(f"{closed} a client certificate, or another one")
        return EncryptionError(f"{closed} TLS")

    def _dispatch(self, response: Response) -> None:
        if not self._calls:
            raise RemoteProtocolError("it sent a response without a request")
        self._answered = True
        call = self._calls[0]
        if response.opcode != call.opcode:
            raise RemoteProtocolError(f"it answered {opcode_name(response.opcode)} instead of {opcode_name(call.opcode)}")
        if response.opaque != call.opaque:
            name = opcode_name(call.opcode)
            raise RemoteProtocolError(f"it answered {name} with the opaque {response.opaque} instead of {call.opaque}")
        call.size += response.size
        if call.max_size is not None and call.size > call.max_size:
            raise RemoteProtocolError(f"it answered {opcode_name(call.opcode)} with more than {call.max_size} bytes")
        if call.last is None or response.status or call.last(response):
            self._silence.answered(self._calls.popleft())
        if not call.abandoned:
            call.responses.append(response)
            if call.held:
                self._held.value += response.size
            call.arrived.set()

    def _fail(self, error: ClientError) -> None:
        if self._lost is None:
            self._lost = error
        for call in self._calls:
            call.lost = error
            call.arrived.set()
        self._calls.clear()


def _why(error: Exception) -> str:
    """Explain why a stream broke. With TLS 1.3, a client learns in this way that its certificate was refused or is missing."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    return str(error) or str(cause or "the server is gone")
