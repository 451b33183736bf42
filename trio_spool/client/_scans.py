"""Scans, as a client iterates over them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..mcbp import (
    ALL_VBUCKETS,
    CONTINUE,
    KEYS_EXTRAS,
    MAX_FRAME,
    MAX_KEY,
    Document,
    Opcode,
    RemoteProtocolError,
    ScanRequest,
    Status,
    encode_scan_request,
    unpack_scan,
)
from ._calls import Call
from ._connection import Connection
from ._errors import ConnectionLostError, NotFoundError, ScanCancelledError, ServerError, error_of

# The number of bytes that one continue asks for: few enough to hold in memory, and so many that the cost of a continue does not
# matter. Picked, not measured.
CONTINUE_BYTES = 1024 * 1024
# The maximum number of bytes of the answer to one continue. A server may go over what was asked for by one document.
MAX_ANSWER = CONTINUE_BYTES + MAX_FRAME
# The number of bytes of the name of a scan on the server.
_IDENTITY_SIZE = 16
_KEY_LENGTH = struct.Struct(">H")


async def open_scan(client: Connection, request: ScanRequest) -> Documents:
    """Create a scan of all vbuckets, and ask for its first documents."""
    value = encode_scan_request(request)
    # The server may wait for the documents that are required before it answers.
    timeout = client.answer_timeout + (request.requirements.timeout if request.requirements else 0)
    try:
        call = await client.start(Opcode.RANGE_SCAN_CREATE, value=value, vbucket=ALL_VBUCKETS, timeout=timeout)
        response = await call.expect_success()
    except NotFoundError:
        return Documents(client, request, b"")  # the range is empty
    except ServerError as exc:
        if exc.status != Status.NOT_MY_VBUCKET:
            raise
        reason = "the server can't scan all its vbuckets at once, as trio-spool can since version 1.0"
        raise ServerError(f"range_scan_create: {reason} (status 0x{exc.status:02x})", exc.status) from None
    if len(response.value) != _IDENTITY_SIZE:
        raise ConnectionLostError(f"the server named a scan in {len(response.value)} bytes, not {_IDENTITY_SIZE}")
    documents = Documents(client, request, response.value)
    try:
        await documents.ask()
    except BaseException:
        documents.close()
        raise
    return documents


class Documents:
    """The documents of a scan. See `Client.scan`."""

    def __init__(self, client: Connection, request: ScanRequest, identity: bytes) -> None:
        self._client = client
        self._identity = identity
        self._call: Call | None = None
        self._waiting: Iterator[Document] = iter(())  # the documents of a frame that were not returned yet
        self._empty = True  # whether the running continue has brought no document yet
        self._least = request.start  # the lowest key that the next document may have
        self._end = request.end

    def __aiter__(self) -> Documents:
        """Return itself."""
        return self

    async def __anext__(self) -> Document:
        """Return the next document."""
        while (document := self._next_waiting()) is None:
            if self._call is None:
                raise StopAsyncIteration
            await self._next_frame(self._call)
        return document

    def _next_waiting(self) -> Document | None:
        """Return the next document of the frame, if there is one, once it is clear that this scan can have it."""
        try:
            document = next(self._waiting, None)
        except RemoteProtocolError as exc:
            raise self._malformed(str(exc)) from exc
        if document is None:
            return None
        key = document.key
        if not 0 < len(key) <= MAX_KEY:
            raise self._malformed(f"a key has {len(key)} bytes")
        if key < self._least or (self._end is not None and key >= self._end):
            raise self._malformed(f"the key {key!r} is out of order, or out of the range of the scan")
        self._least = key + b"\0"
        return document

    def _malformed(self, why: str) -> ConnectionLostError:
        """End the scan, and return the error for a frame that a server can't mean."""
        self._waiting = iter(())
        self.close()
        return ConnectionLostError(f"the server sent a malformed frame of a scan: {why}")

    async def ask(self) -> None:
        """Continue the scan."""
        extras = CONTINUE.pack(self._identity, 0, 0, CONTINUE_BYTES)
        self._empty = True
        self._call = await self._client.start(
            Opcode.RANGE_SCAN_CONTINUE, extras=extras, last=lambda response: False, max_size=MAX_ANSWER
        )

    async def _next_frame(self, call: Call) -> None:
        response = await call.next_response()
        if response.status not in (Status.OK, Status.SCAN_MORE, Status.SCAN_COMPLETE):
            self._call, self._identity = None, b""  # the scan has ended
            if response.status == Status.NOT_FOUND:  # the server ended it between two continues
                raise ScanCancelledError("range_scan_continue: the server has ended the scan", response.status)
            if response.status == Status.INTERNAL and not response.value:
                reason = "the server can't read a document; its log says which one, and trio-spool check what else is damaged"
                raise ServerError(f"range_scan_continue: {reason} (status 0x{response.status:02x})", response.status)
            raise error_of(response)
        self._empty = self._empty and not response.value
        if response.status == Status.SCAN_COMPLETE:
            self._call, self._identity = None, b""
        elif response.status == Status.SCAN_MORE:
            if self._empty:  # without this, it could go on like this for ever
                raise self._malformed("there is more, but no document came")
            await self.ask()
        # One at a time: a hostile frame may have millions of documents in it.
        self._waiting = unpack_scan(response.value, response.extras == KEYS_EXTRAS)

    def close(self) -> None:
        """Cancel the scan if it has not ended. This does not wait."""
        if self._call is not None:
            self._client.abandon(self._call)
            self._call = None
        if self._identity:
            self._client.send_if_possible(Opcode.RANGE_SCAN_CANCEL, extras=self._identity)
            self._identity = b""


def unpack_keys(value: bytes, count: int) -> list[bytes]:
    """Split the value of a response to GET_KEYS.

    Args:
        value: The value.
        count: The number of keys that were asked for.

    Raises:
        ConnectionLostError: The value is cut off, or has more keys.
    """
    keys: list[bytes] = []
    offset = 0
    while offset < len(value):
        if len(keys) == count:
            raise ConnectionLostError(f"the server sent more than the {count} keys that were asked for")
        if len(value) - offset < _KEY_LENGTH.size:
            raise ConnectionLostError("the server sent keys that are cut off")
        (length,) = _KEY_LENGTH.unpack_from(value, offset)
        offset += _KEY_LENGTH.size + length
        if offset > len(value):
            raise ConnectionLostError("the server sent keys that are cut off")
        keys.append(value[offset - length : offset])
    return keys
