"""The client, which has a method for each command on data."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from .._formats import prefix_end
from ..mcbp import (
    Feature,
    FragmentRequest,
    Opcode,
    Response,
    ScanRequest,
    SnapshotRequirements,
    encode_fragment_request,
)
from ._administration import Administration
from ._calls import Call
from ._errors import ConnectionLostError
from ._files import Manifest, check_fragment, parse_manifest
from ._scans import Documents, open_scan, unpack_keys
from ._statistics import Statistics

_STORE_EXTRAS = struct.Struct(">LL")
_COUNT_EXTRAS = struct.Struct(">QQL")
_DO_NOT_CREATE = 0xFFFF_FFFF
_FLAGS_SIZE = 4
_COUNT_SIZE = 8
# How much longer than for any other answer the server may be silent while it makes a snapshot: it copies a whole database first. By
# default, this is an hour. Picked, not measured.
_PREPARE_FACTOR = 120


@attrs.frozen
class StoredValue:
    """The result of `Client.get`.

    Attributes:
        value: The value.
        flags: The 32 bits that were stored with it.
        cas: The CAS, which changes with each change of the document.
    """

    value: bytes
    flags: int
    cas: int


class Client(Administration):
    """A connection to a server, made by `open_client`.

    Any number of tasks may use it at the same time. Their requests don't wait for each other's responses. Every method raises a
    `ClientError` if the server answers with an error or the connection is lost.
    """

    async def get(self, key: bytes) -> StoredValue:
        """Return the value of a key.

        Raises:
            NotFoundError: The key does not exist.
        """
        return _stored(await self._call(Opcode.GET, key=key))

    async def set(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, cas: int = 0) -> int:
        """Store a value and return its CAS.

        Args:
            key: The key, 1 to 250 bytes.
            value: The value.
            flags: 32 bits that the server stores with the value.
            expiry: When the value expires: 0 for never, a number of seconds up to thirty days, or a Unix time.
            cas: The CAS that the stored value must have, or 0 to store in any case.

        Raises:
            ExistsError: The stored value has another CAS.
            NotFoundError: A CAS was given, and the key does not exist.
            TooBigError: The value is larger than the server allows.
        """
        return (await self._call(Opcode.SET, key=key, value=value, extras=_STORE_EXTRAS.pack(flags, expiry), cas=cas)).cas

    async def add(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0) -> int:
        """Store a value for a new key and return its CAS. `ExistsError` if the key exists."""
        return (await self._call(Opcode.ADD, key=key, value=value, extras=_STORE_EXTRAS.pack(flags, expiry))).cas

    async def replace(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, cas: int = 0) -> int:
        """Replace the value of a key and return its CAS. `NotFoundError` if the key does not exist."""
        extras = _STORE_EXTRAS.pack(flags, expiry)
        return (await self._call(Opcode.REPLACE, key=key, value=value, extras=extras, cas=cas)).cas

    async def append(self, key: bytes, value: bytes) -> int:
        """Append to the value of a key and return its CAS. `NotStoredError` if the key does not exist."""
        return (await self._call(Opcode.APPEND, key=key, value=value)).cas

    async def prepend(self, key: bytes, value: bytes) -> int:
        """Prepend to the value of a key and return its CAS. `NotStoredError` if the key does not exist."""
        return (await self._call(Opcode.PREPEND, key=key, value=value)).cas

    async def delete(self, key: bytes, *, cas: int = 0) -> None:
        """Delete a key. `NotFoundError` if it does not exist, `ExistsError` if `cas` is given and its CAS differs."""
        await self._call(Opcode.DELETE, key=key, cas=cas)

    async def increment(self, key: bytes, delta: int = 1, *, initial: int | None = 0, expiry: int = 0) -> int:
        """Add to a number and return the result.

        A key that does not exist is created with `initial`. If `initial` is None, that raises `NotFoundError`.
        """
        extras = _COUNT_EXTRAS.pack(delta, *_initial(initial, expiry))
        return _count(await self._call(Opcode.INCREMENT, key=key, extras=extras))

    async def decrement(self, key: bytes, delta: int = 1, *, initial: int | None = 0, expiry: int = 0) -> int:
        """Subtract from a number, down to 0, and return the result.

        A key that does not exist is created with `initial`. If `initial` is None, that raises `NotFoundError`.
        """
        extras = _COUNT_EXTRAS.pack(delta, *_initial(initial, expiry))
        return _count(await self._call(Opcode.DECREMENT, key=key, extras=extras))

    async def touch(self, key: bytes, expiry: int) -> None:
        """Change the expiry of a key. `NotFoundError` if the key does not exist."""
        await self._call(Opcode.TOUCH, key=key, extras=expiry.to_bytes(4, "big"))

    async def get_and_touch(self, key: bytes, expiry: int) -> StoredValue:
        """Change the expiry of a key and return its value. `NotFoundError` if the key does not exist."""
        return _stored(await self._call(Opcode.GAT, key=key, extras=expiry.to_bytes(4, "big")))

    async def flush(self, delay: int = 0) -> None:
        """Delete all documents of the bucket, now or after `delay` seconds."""
        await self._call(Opcode.FLUSH, extras=delay.to_bytes(4, "big") if delay else b"")

    async def noop(self) -> None:
        """Wait until the server has answered everything that was requested before."""
        await self._call(Opcode.NOOP)

    async def version(self) -> str:
        """Return the version of the server."""
        return (await self._call(Opcode.VERSION)).value.decode("utf-8", "backslashreplace")

    async def hello(self, agent: str, features: tuple[Feature, ...]) -> list[int]:
        """Negotiate features and return those that the server grants. Features that were not asked for are ignored.

        Args:
            agent: The name of this client, for the server's statistics.
            features: The features to ask for.
        """
        value = struct.pack(f">{len(features)}H", *features)
        granted = (await self._call(Opcode.HELLO, key=agent.encode(), value=value)).value
        if len(granted) % 2:
            raise ConnectionLostError(f"the server sent a list of features in {len(granted)} bytes, which is not a multiple of 2")
        self.features = frozenset(features).intersection(feature for (feature,) in struct.iter_unpack(">H", granted))
        return sorted(self.features)

    @asynccontextmanager
    async def stat(self, group: str | bytes = "") -> AsyncIterator[Statistics]:
        """Ask for a group of statistics and iterate over them as they arrive.

        ::

            async with client.stat("keys") as statistics:
                async for name, value in statistics: ...

        Leaving the block early drops the statistics that are still to come. The server sends them all the same.

        Args:
            group: The name of the group. By default, the general statistics.

        Raises:
            NotFoundError: While iterating: the server has no such group.
        """
        name = group.encode() if isinstance(group, str) else group
        call = await self.start(Opcode.STAT, key=name, last=lambda response: not response.key, held=True)
        try:
            yield Statistics(self, call)
        finally:
            self.abandon(call)

    @asynccontextmanager
    async def scan(
        self,
        *,
        prefix: bytes = b"",
        start: bytes = b"",
        end: bytes | None = None,
        samples: int | None = None,
        seed: int = 0,
        collection: str = "",
        keys_only: bool = False,
        include_xattrs: bool = False,
        name: str = "",
        requirements: SnapshotRequirements | None = None,
    ) -> AsyncIterator[Documents]:
        """Scan the documents of all vbuckets, in the order of their keys, and iterate over them as they arrive.

        ::

            async with client.scan(prefix=b"user:") as documents:
                async for document in documents:
                    print(document.key, document.value)

        The scan sees the documents as they are when it begins. The client asks for about a megabyte at a time, and for the next one
        while the last one is iterated over. Other requests may use the same connection meanwhile. Leaving the block early cancels
        the scan.

        Args:
            prefix: The prefix of the keys to scan. Can't be combined with `start` and `end`.
            start: The first key to scan.
            end: The first key after the range, or None for no end.
            samples: The approximate size of a random sample, or None to scan all documents. Can't be combined with a range.
            seed: The seed of the random sample. The same seed gives the same sample of the same documents.
            collection: The collection, as ``scope.collection``. By default, the default collection.
            keys_only: Whether to get only the keys. The other fields of the documents are then empty or 0.
            include_xattrs: Whether documents that have extended attributes come with them. They stand before the value, and
                `unpack_xattrs` splits that.
            name: The name of the scan in the server's statistics, at most 50 bytes.
            requirements: The requirements on the snapshot that is scanned.

        Raises:
            ValueError: The arguments contradict each other.
            UnknownCollectionError: The collection does not exist.
            TemporaryFailureError: The server's limit of open scans is reached, or the requirements are not met.
            ServerError: The server is not trio-spool, and can't scan all vbuckets at once.
            ScanCancelledError: While iterating: the server ended the scan, most likely because it was open for too long.
        """
        if prefix and (start or end is not None):
            raise ValueError("a scan can have a prefix, or a start and an end, but not both")
        if samples is not None and (prefix or start or end is not None):
            raise ValueError("a scan can have a range or be a sample, but not both")
        if prefix:
            start, end = prefix, prefix_end(prefix)
        request = ScanRequest(
            start=start, end=end, samples=samples, seed=seed, collection=await self.collection_id(collection) if collection else 0,
            keys_only=keys_only, include_xattrs=include_xattrs, name=name, requirements=requirements,
        )  # fmt: skip
        documents = await open_scan(self, request)
        try:
            yield documents
        finally:
            documents.close()

    async def get_keys(self, start: bytes = b"", count: int = 1000) -> list[bytes]:
        """Return keys in order, beginning with `start`: at most `count` keys, and at most as many as fit in one response."""
        response = await self._call(Opcode.GET_KEYS, key=start, extras=count.to_bytes(4, "big"))
        return unpack_keys(response.value, count)

    async def prepare_snapshot(self) -> Manifest:
        """Have the server make a consistent copy of its files, and return the manifest of this snapshot.

        The server may be silent for 120 times `answer_timeout` meanwhile: an hour by default.

        Raises:
            TemporaryFailureError: The server's limit of snapshots is reached, or its disk is full.
            ServerError: The server does not store its data in files.
        """
        response = await self._call(Opcode.PREPARE_SNAPSHOT, value=b"{}", timeout=_PREPARE_FACTOR * self.answer_timeout)
        return parse_manifest(response.value)

    async def release_snapshot(self, uuid: str) -> None:
        """Let the server remove a snapshot. `NotFoundError` if it has no snapshot with this uuid."""
        await self._call(Opcode.RELEASE_SNAPSHOT, key=uuid.encode())

    async def fragment(self, snapshot: str, request: FragmentRequest) -> bytes:
        """Return a fragment of a file of a snapshot.

        Args:
            snapshot: The uuid of the snapshot.
            request: The file and the bytes to return. With checksums, at most 29 MiB fit in a response.

        Raises:
            NotFoundError: The snapshot or the file does not exist.
            ChecksumError: The fragment did not arrive as it was sent.
            ServerError: The file ends before the fragment does.
        """
        response = await self._call(Opcode.GET_FILE_FRAGMENT, key=snapshot.encode(), value=encode_fragment_request(request))
        return check_fragment(response.value, request)

    async def begin_get(self, key: bytes) -> Call:
        """Send a GET without waiting for its response; `finish_get` waits for that."""
        return await self.start(Opcode.GET, key=key)

    async def finish_get(self, call: Call) -> StoredValue:
        """Wait for the response to `begin_get` and return the value. Raises the errors of `get`."""
        return _stored(await call.expect_success())

    async def begin_set(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, datatype: int = 0) -> Call:
        """Send a SET without waiting for its response; `finish_set` waits for that. This waits only for room to queue the request.

        Args:
            key: The key, 1 to 250 bytes.
            value: The value.
            flags: 32 bits that the server stores with the value.
            expiry: When the value expires, as for `set`.
            datatype: How the value is encoded, as far as `hello` was granted the feature.
        """
        extras = _STORE_EXTRAS.pack(flags, expiry)
        return await self.start(Opcode.SET, key=key, value=value, extras=extras, datatype=datatype)

    async def finish_set(self, call: Call) -> int:
        """Wait for the response to `begin_set` and return the CAS. Raises the errors of `set`."""
        return (await call.expect_success()).cas


def _stored(response: Response) -> StoredValue:
    if len(response.extras) != _FLAGS_SIZE:
        raise ConnectionLostError(f"the server sent the flags of a value in {len(response.extras)} bytes, not {_FLAGS_SIZE}")
    return StoredValue(response.value, int.from_bytes(response.extras, "big"), response.cas)


def _initial(initial: int | None, expiry: int) -> tuple[int, int]:
    """Return the initial value and the expiry of a number. The protocol has an expiry that means "do not create"."""
    return (0, _DO_NOT_CREATE) if initial is None else (initial, expiry)


def _count(response: Response) -> int:
    if len(response.value) != _COUNT_SIZE:
        raise ConnectionLostError(f"the server sent a number in {len(response.value)} bytes, not {_COUNT_SIZE}")
    return int.from_bytes(response.value, "big")
