"""The client: a method for each command on data."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from ..mcbp import (
    Feature,
    FragmentRequest,
    Opcode,
    ScanRequest,
    SnapshotRequirements,
    encode_fragment_request,
    prefix_end,
)
from ._administration import Administration
from ._calls import Call
from ._files import Manifest, check_fragment, parse_manifest
from ._scans import Documents, open_scan, unpack_keys
from ._statistics import Statistics

_STORE_EXTRAS = struct.Struct(">LL")
_COUNT_EXTRAS = struct.Struct(">QQL")


@attrs.frozen
class StoredValue:
    """What `Client.get` returns."""

    value: bytes
    flags: int
    cas: int


class Client(Administration):
    """A connection. Any number of tasks may use it: their requests are sent one after the other, without waiting for each other."""

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
        self.features = frozenset(feature for (feature,) in struct.iter_unpack(">H", granted))
        return sorted(self.features)

    @asynccontextmanager
    async def stat(self, group: str | bytes = "") -> AsyncIterator[Statistics]:
        """Ask for a group of statistics, and iterate over them as they arrive.

        ::

            async with client.stat("keys") as statistics:
                async for name, value in statistics: ...

        Leaving the block early drops those that are still to come; the server sends them all the same.
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
        name: str = "",
        requirements: SnapshotRequirements | None = None,
    ) -> AsyncIterator[Documents]:
        """Scan what is stored now, in all vbuckets, in the order of the keys, and iterate over the documents as they arrive.

        ::

            async with client.scan(prefix=b"user:") as documents:
                async for document in documents:
                    print(document.key, document.value)

        About a megabyte is asked for at a time, and the next one while the last one is iterated over. What is stored meanwhile is
        not seen. Other requests may be made on the same connection meanwhile. Leaving the block early cancels the scan.

        Args:
            prefix: Only keys that begin so; not together with `start` and `end`.
            start: The first key.
            end: What comes behind the last key; None for no end.
            samples: Instead of all, a random sample of about so many; not together with a range.
            seed: Decides which: the same ones for the same data.
            collection: Which one, as ``scope.collection``; by default the default one.
            keys_only: The documents have keys and nothing else.
            name: What the server's statistics call the scan, at most 50 bytes.
            requirements: What the snapshot must be like that is scanned.

        Raises:
            ValueError: The arguments contradict each other.
            UnknownCollectionError: There is no such collection.
            TemporaryFailureError: The server has as many scans open as it allows, or the requirements are not met.
            ServerError: The server is another one than trio-spool, and can't scan all vbuckets at once.
            ScanCancelledError: While it is iterated over: the server ended the scan, most likely since it was open for too long.
        """
        if prefix and (start or end is not None):
            raise ValueError("a scan has a prefix, or a start and an end")
        if samples is not None and (prefix or start or end is not None):
            raise ValueError("a scan has a range, or is a sample")
        if prefix:
            start, end = prefix, prefix_end(prefix)
        request = ScanRequest(
            start=start, end=end, samples=samples, seed=seed, collection=await self.collection_id(collection) if collection else 0,
            keys_only=keys_only, name=name, requirements=requirements,
        )  # fmt: skip
        documents = await open_scan(self, request)
        try:
            yield documents
        finally:
            documents.close()

    async def get_keys(self, start: bytes = b"", count: int = 1000) -> list[bytes]:
        """Return keys in order, from `start` on: no more than `count`, and no more than fit in one response."""
        response = await self._call(Opcode.GET_KEYS, key=start, extras=count.to_bytes(4, "big"))
        return unpack_keys(response.value)

    async def prepare_snapshot(self) -> Manifest:
        """Have the server make a consistent copy of its files, and return what it consists of.

        Raises:
            TemporaryFailureError: The server keeps as many as it allows, or has no room.
            ServerError: It keeps nothing in files.
        """
        response = await self._call(Opcode.PREPARE_SNAPSHOT, value=b"{}")
        return parse_manifest(response.value)

    async def release_snapshot(self, uuid: str) -> None:
        """Let the server remove a snapshot; NotFoundError if it has none of this name."""
        await self._call(Opcode.RELEASE_SNAPSHOT, key=uuid.encode())

    async def fragment(self, snapshot: str, request: FragmentRequest) -> bytes:
        """Return a piece of a file of a snapshot.

        Args:
            snapshot: Its uuid.
            request: Which file, and which bytes: with checksums no more than 29 MiB of them, which is what a response may have.

        Raises:
            NotFoundError: There is no such snapshot, or no such file.
            ChecksumError: It did not arrive as it was sent.
            ServerError: The file ends before that.
        """
        response = await self._call(Opcode.GET_FILE_FRAGMENT, key=snapshot.encode(), value=encode_fragment_request(request))
        return check_fragment(response.value, request)

    async def store_nowait(self, key: bytes, value: bytes, *, flags: int = 0, expiry: int = 0, datatype: int = 0) -> Call:
        """Send a SET without waiting for its response: wait for that with `settle`. It waits only for room to queue it.

        A datatype may be given that `hello` was granted.
        """
        extras = _STORE_EXTRAS.pack(flags, expiry)
        return await self.start(Opcode.SET, key=key, value=value, extras=extras, datatype=datatype)

    async def settle(self, call: Call) -> int:
        """Wait for the response to `store_nowait`, and return the CAS."""
        return (await call.expect_success()).cas
