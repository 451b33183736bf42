"""Buckets: each is a store of its own, with its collections and its vbuckets."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4, uuid5

import trio

from ..engine import DataDirectoryError, Engine, EngineError, Operation, Outcome, Problem, Remember, Remove, Space, open_engine
from ..mcbp import Collection, RemoteProtocolError, decode_leb128, encode_leb128
from ._collections import Manifest, StillRemovingError, check_change, parse_manifest
from ._settings import Settings

DEFAULT_BUCKET: Final = "default"
# Where the buckets other than the default one are, in the data directory, which is the default one's own.
BUCKETS_DIRECTORY: Final = "buckets"
_NAME: Final = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}")
_NAMESPACE: Final = UUID("6f1f9b52-6a5e-4b8e-9d0f-5a1c6f0f7c11")
_MANIFEST: Final = b"manifest"
# A scan is ended by the service, which knows its client; should that fail, its snapshot is by the engine, so many seconds later.
LIFE_MARGIN: Final = 5.0
# Items of a dropped collection that are removed by one operation.
SWEEP: Final = 1000


class BucketError(Exception):
    """A bucket can't be made or deleted. The message says why."""


class BucketExistsError(BucketError):
    """There is one of that name."""


class NoBucketError(BucketError):
    """There is none of that name."""


def space_of(key: bytes) -> bytes:
    """Return the part of a stored key that stands for its collection."""
    return key[:1] if key[0] < 0x80 else key[: decode_leb128(key)[1]]


class Bucket:
    """A store, its manifest, and its vbuckets, which all share that store. Used by the event loop's thread, but for the engine.

    Attributes:
        name: Its name.
        engine: Its store.
        reader: Point reads for the event loop's thread.
        manifest: Its scopes and collections.
        vbuckets: How many there are.
    """

    def __init__(self, name: str, engine: Engine, vbuckets: int) -> None:
        self.name = name
        self.engine = engine
        self.reader = engine.open_reader()
        self.vbuckets = vbuckets
        self._identity = engine.identity
        self._uuids: dict[int, int] = {}
        self._changing = trio.Lock()
        stored = engine.recall(_MANIFEST)
        self._use(Manifest() if stored is None else parse_manifest(stored))

    def _use(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._collections = manifest.by_id()

    @property
    def uuid(self) -> str:
        """What tells it from another bucket of the same name."""
        return uuid5(_NAMESPACE, self._identity).hex

    @property
    def durable(self) -> bool:
        """Whether what is acknowledged is on disk."""
        return self.engine.durable

    def has_vbucket_uuid(self, uuid: int) -> bool:
        """Whether one of its vbuckets has this uuid."""
        return any(self.vbucket_uuid(vbucket) == uuid for vbucket in range(self.vbuckets))

    def vbucket_uuid(self, vbucket: int) -> int:
        """Return what tells the history of a vbucket from another one: 63 bits, never 0, the same after a restart."""
        found = self._uuids.get(vbucket)
        if found is None:
            identity = f"{self._identity}:{vbucket}" if vbucket else self._identity
            found = self._uuids[vbucket] = uuid5(_NAMESPACE, identity).int >> 65 or 1
        return found

    def collection(self, number: int) -> Collection | None:
        """Return a collection by its id."""
        return self._collections.get(number)

    def held(self, collection: int) -> Space:
        """Return what a collection holds, by its id."""
        return self.engine.spaces.get(prefix_of(collection), Space())

    def collection_of(self, key: bytes) -> Collection | None:
        """Return the collection that a stored key belongs to; None if that is not there any more, or never was."""
        return self._collections.get(key[0] if key[0] < 0x80 else decode_leb128(key)[0])

    async def operate(self, operations: list[Operation]) -> list[Outcome]:
        """Hand operations to the writer thread and wait until they are committed.

        If cancelled while waiting, they may be committed all the same.
        """
        task = trio.lowlevel.current_task()
        outcomes: list[Outcome] = []
        waiting = True

        def done(answer: list[Outcome]) -> None:
            nonlocal waiting
            outcomes.extend(answer)
            if waiting:
                waiting = False
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal waiting
            waiting = False
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            self.engine.submit(operations, done)
        except EngineError:
            return [Outcome(Problem.FAILED)] * len(operations)
        await trio.lowlevel.wait_task_rescheduled(abort)
        return outcomes

    async def change_manifest(self, manifest: Manifest) -> Problem | None:
        """Store another manifest, and use it from then on. What belongs to dropped collections is removed by `sweep`.

        Raises:
            ManifestError: It can't follow the one that is in use, or not yet.
        """
        async with self._changing:
            check_change(self.manifest, manifest)
            for number in manifest.by_id():
                if number not in self._collections and prefix_of(number) in self.engine.spaces:
                    raise StillRemovingError(f"the collection with the uid {number:x} was dropped, and is still being removed")
            (outcome,) = await self.operate([Remember(_MANIFEST, manifest.to_json())])
            if outcome.problem is None:
                self._use(manifest)
        return outcome.problem

    def _is_dropped(self, space: bytes) -> bool:
        try:
            return decode_leb128(space)[0] not in self._collections
        except RemoteProtocolError:
            return False  # nothing that the service has written

    async def sweep(self) -> None:
        """Remove what is left of collections that are no longer there."""
        for space in list(self.engine.spaces):
            removed = SWEEP
            while removed == SWEEP and self._is_dropped(space):
                (outcome,) = await self.operate([Remove(space, SWEEP)])
                removed = outcome.number or 0


def prefix_of(collection: int) -> bytes:
    """Return what the stored keys of a collection begin with."""
    return encode_leb128(collection)


def vbucket_of(key: bytes, count: int) -> int:
    """Return the vbucket that clients take a key to, which is given without its collection."""
    return ((zlib.crc32(key) >> 16) & 0x7FFF) % count


class Buckets:
    """All buckets of a service.

    Args:
        settings: Where they are, and how they are opened.
        wake: See `Engine`.
    """

    def __init__(self, settings: Settings, wake: Callable[[Callable[[], None]], object]) -> None:
        self._settings = settings
        self._wake = wake
        self._buckets: dict[str, Bucket] = {}
        self._changing = trio.Lock()

    def __iter__(self) -> Iterator[Bucket]:
        """Iterate over them."""
        return iter(list(self._buckets.values()))

    def get(self, name: str) -> Bucket | None:
        """Return a bucket by its name."""
        return self._buckets.get(name)

    @property
    def default(self) -> Bucket:
        """The bucket that is there from the beginning, and stays."""
        return self._buckets[DEFAULT_BUCKET]

    def _directory(self, name: str) -> Path | None:
        root = self._settings.data_dir
        if root is None or name == DEFAULT_BUCKET:
            return root
        return root / BUCKETS_DIRECTORY / name

    def open_all_in_thread(self) -> None:
        """Open those that there are.

        Raises:
            EngineError: A directory can't be used.
        """
        # The default one first: that says what is wrong with the data directory, if anything is.
        self._buckets[DEFAULT_BUCKET] = self._open_in_thread(DEFAULT_BUCKET)
        root = self._settings.data_dir
        for name in [] if root is None else _names_in_thread(root / BUCKETS_DIRECTORY):
            self._buckets[name] = self._open_in_thread(name)

    def _open_in_thread(self, name: str) -> Bucket:
        settings = self._settings
        engine = open_engine(
            settings.engine, self._directory(name), fsync=settings.fsync, wake=self._wake, space_of=space_of,
            max_snapshots=settings.max_scans, max_snapshot_life=settings.max_scan_life + LIFE_MARGIN,
        )  # fmt: skip
        return Bucket(name, engine, settings.vbuckets)

    def close_all_in_thread(self) -> None:
        """Carry out what is queued, and close them."""
        for bucket in self._buckets.values():
            bucket.engine.close()

    async def create(self, name: str) -> None:
        """Make a bucket.

        Raises:
            BucketError: It can't be made.
            EngineError: Its directory can't be used.
        """
        if not _NAME.fullmatch(name):
            raise BucketError(f"{name!r:.120} can't be the name of a bucket: 1 to 100 of A-Z a-z 0-9 _ - . %, the first no dot")
        async with self._changing:
            if name in self._buckets:
                raise BucketExistsError(f"there is a bucket {name!r} already")
            if len(self._buckets) >= self._settings.max_buckets:
                raise BucketError(f"there are {len(self._buckets)} buckets, which is the most")
            with trio.CancelScope(shield=True):
                self._buckets[name] = await trio.to_thread.run_sync(self._open_in_thread, name)

    async def delete(self, name: str, leave: Callable[[Bucket], object]) -> None:
        """Delete a bucket and all that it holds.

        Args:
            name: Its name.
            leave: Is called once nobody can select it any more; ends what uses it.

        Raises:
            BucketError: There is none, or it is the default one.
        """
        async with self._changing:
            if name == DEFAULT_BUCKET:
                raise BucketError("the bucket default stays; FLUSH empties it")
            bucket = self._buckets.pop(name, None)
            if bucket is None:
                raise NoBucketError(f"there is no bucket {name!r:.120}")
            leave(bucket)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._delete_in_thread, bucket)

    def _delete_in_thread(self, bucket: Bucket) -> None:
        bucket.engine.close()
        directory = self._directory(bucket.name)
        if directory is not None:
            # What is renamed is not opened again, should removing it be cut off.
            doomed = directory.with_name(f".deleted-{uuid4().hex}")
            directory.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _names_in_thread(directory: Path) -> list[str]:
    """Return the names of the buckets in a directory, and remove what is left of deleted ones."""
    try:
        found = sorted(directory.iterdir())
        for path in found:
            if path.name.startswith(".deleted-"):
                shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in found if _NAME.fullmatch(path.name) and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise DataDirectoryError(f"can't read the buckets in {directory}: {exc.strerror}; check who owns it") from exc
