"""Scans, as a client iterates over them."""

from __future__ import annotations

import struct
from collections import deque

from ..mcbp import (
    ALL_VBUCKETS,
    CONTINUE,
    KEYS_EXTRAS,
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
_KEY_LENGTH = struct.Struct(">H")


async def open_scan(client: Connection, request: ScanRequest) -> Documents:
    """Create a scan of all vbuckets, and ask for its first documents."""
    value = encode_scan_request(request)
    try:
        response = await (await client.start(Opcode.RANGE_SCAN_CREATE, value=value, vbucket=ALL_VBUCKETS)).expect_success()
    except NotFoundError:
        return Documents(client, b"", None)  # the range is empty
    except ServerError as exc:
        if exc.status != Status.NOT_MY_VBUCKET:
            raise
        reason = "the server can't scan all its vbuckets at once, as trio-spool can since version 1.0"
        raise ServerError(f"range_scan_create: {reason} (status 0x{exc.status:02x})", exc.status) from None
    documents = Documents(client, response.value, None)
    try:
        await documents.ask()
    except BaseException:
        documents.close()
        raise
    return documents


class Documents:
    """The documents of a scan. See `Client.scan`."""

    def __init__(self, client: Connection, identity: bytes, call: Call | None) -> None:
        self._client = client
        self._identity = identity
        self._call = call
        self._waiting: deque[Document] = deque()  # the documents of a frame that were not returned yet

    def __aiter__(self) -> Documents:
        """Return itself."""
        return self

    async def __anext__(self) -> Document:
        """Return the next document."""
        while not self._waiting:
            if self._call is None:
                raise StopAsyncIteration
            await self._next_frame(self._call)
        return self._waiting.popleft()

    async def ask(self) -> None:
        """Continue the scan."""
        extras = CONTINUE.pack(self._identity, 0, 0, CONTINUE_BYTES)
        self._call = await self._client.start(Opcode.RANGE_SCAN_CONTINUE, extras=extras, last=lambda response: False)

    async def _next_frame(self, call: Call) -> None:
        response = await call.next_response()
        if response.status not in (Status.OK, Status.SCAN_MORE, Status.SCAN_COMPLETE):
            self._call, self._identity = None, b""  # the scan has ended
            if response.status == Status.NOT_FOUND:  # the server ended it between two continues
                raise ScanCancelledError("range_scan_continue: the server has ended the scan", response.status)
            raise error_of(response)
        if response.status == Status.SCAN_COMPLETE:
            self._call, self._identity = None, b""
        elif response.status == Status.SCAN_MORE:
            await self.ask()
        if response.value:
            try:
                self._waiting.extend(unpack_scan(response.value, response.extras == KEYS_EXTRAS))
            except RemoteProtocolError as exc:
                raise ConnectionLostError(f"the server sent a malformed frame of a scan: {exc}") from exc

    def close(self) -> None:
        """Cancel the scan if it has not ended. This does not wait."""
        if self._call is not None:
            self._client.abandon(self._call)
            self._call = None
        if self._identity:
            self._client.send_if_possible(Opcode.RANGE_SCAN_CANCEL, extras=self._identity)
            self._identity = b""


def unpack_keys(value: bytes) -> list[bytes]:
    """Split the value of a response to GET_KEYS.

    Raises:
        ConnectionLostError: The value is cut off.
    """
    keys = []
    offset = 0
    while offset < len(value):
        if len(value) - offset < _KEY_LENGTH.size:
            raise ConnectionLostError("the server sent keys that are cut off")
        (length,) = _KEY_LENGTH.unpack_from(value, offset)
        offset += _KEY_LENGTH.size + length
        if offset > len(value):
            raise ConnectionLostError("the server sent keys that are cut off")
        keys.append(value[offset - length : offset])
    return keys
