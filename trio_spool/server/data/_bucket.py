"""A bucket: a store with its collections and its vbuckets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Final
from uuid import UUID, uuid5

import trio

from ..._formats import Collection
from ...engine import (
    TOMBSTONE_PREFIX,
    BackgroundWork,
    DataDirectoryError,
    Engine,
    EngineError,
    Item,
    Operation,
    Outcome,
    Problem,
    Remember,
    Remove,
    Space,
    StorageError,
    WorkClock,
)
from ..settings import Settings
from ._accesses import Accesses
from ._bounds import bound_for, check_bound
from ._bucket_options import BucketOptions, parse_options
from ._keys import collection_id, prefix_of
from ._manifest import Manifest, ManifestError, StillRemovingError, check_change, parse_manifest
from ._spent import Spent
from ._turns import Turns

# The namespace of the uuids of buckets and vbuckets. A random UUID: it only has to stay the same.
_NAMESPACE: Final = UUID("6f1f9b52-6a5e-4b8e-9d0f-5a1c6f0f7c11")
_MANIFEST: Final = b"manifest"
# The name under which the options are stored.
OPTIONS: Final = b"options"
# Operations on very large items that are planned at a time. One works and another waits for its commit; more would take memory, and
# be no faster, as they take turns.
_PLANNERS: Final = 2
# The items of a dropped collection that one operation removes: few enough for a commit of some milliseconds. Picked, not measured.
SWEEP: Final = 1000


class OutcomeUnknownError(trio.BrokenResourceError):
    """The engine has failed during a commit: nobody knows whether a mutation took place, so its client can only be disconnected."""


class Bucket:
    """A store with its manifest and its vbuckets, which all share that store.

    The event loop's thread uses it. The engine may also be used by worker threads.

    Attributes:
        name: The name of the bucket.
        engine: The store.
        reader: Point reads for the event loop's thread, if the engine is local.
        manifest: The scopes and collections.
        options: What administrators have set.
        bound: How large it may become.
        max_value: The largest value that it can take, in bytes.
        max_operations: The number of operations from which on one client's should be carried out before more are collected.
        vbuckets: The number of vbuckets.
        turns: Makes those wait for each other who plan operations on the same key.
        accesses: When items were last read; None until somebody asks for that.
        planners: Bounds the operations on very large items that are planned at a time, each of which takes several times its item.

    Raises:
        DataDirectoryError: The stored manifest, or the options, are damaged.
    """

    def __init__(self, name: str, engine: Engine, settings: Settings) -> None:
        self.name = name
        self.engine = engine
        self.reader = engine.open_reader()
        engine.count_uses(self.reader)
        self.vbuckets = settings.vbuckets
        self.turns = Turns()
        self.accesses: Accesses | None = None
        self.planners = trio.CapacityLimiter(_PLANNERS)
        self._identity = engine.identity
        self._uuids: dict[int, int] = {}
        self._drops: dict[int, int] = {}
        self._collections: dict[int, Collection] = {}
        self._changing = trio.Lock()
        self._noted = 0
        self._sweeps = WorkClock()
        stored = engine.recall(_MANIFEST)
        try:
            self._use(Manifest() if stored is None else parse_manifest(stored))
        except ManifestError as exc:
            raise DataDirectoryError(f"the stored manifest of the bucket {name} is damaged: {exc}; restore a backup") from exc
        try:
            self.options = parse_options(engine.recall(OPTIONS))
            check_bound(self.options.max_size, self.options.evict)
        except (ValueError, TypeError) as exc:
            raise DataDirectoryError(f"the stored options of the bucket {name} are damaged: {exc}; restore a backup") from exc
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Be as the settings say, as far as they can change."""
        self._settings = settings
        self.engine.limit_held(settings.max_held_size)
        self._limit()

    def _limit(self) -> None:
        self.bound = bound = bound_for(self.options, self._settings)
        self.engine.limit_size(bound)
        # What is stored beside the largest value is less than two pages.
        self.max_value = bound.item_size - 8192 if bound.size else self._settings.max_item_size
        self.max_operations = bound.group_operations if bound.size else self._settings.max_in_flight

    def _use(self, manifest: Manifest) -> None:
        before = self._collections
        self.manifest = manifest
        self._collections = manifest.by_id()
        for number in before.keys() - self._collections.keys():
            self._drops[number] = self._drops.get(number, 0) + 1

    @property
    def uuid(self) -> str:
        """Distinguishes this bucket from another one of the same name."""
        return uuid5(_NAMESPACE, self._identity).hex

    @property
    def durable(self) -> bool:
        """Whether a mutation is on disk when it is acknowledged."""
        return self.engine.durable

    def take_ended(self) -> int:
        """Return how many snapshots were ended, since the last call, because they kept too much on disk."""
        ended = self.engine.snapshots_ended_for_space
        news, self._noted = ended - self._noted, ended
        return news

    def has_vbucket_uuid(self, uuid: int) -> bool:
        """Whether one of the vbuckets has this uuid."""
        return any(self.vbucket_uuid(vbucket) == uuid for vbucket in range(self.vbuckets))

    def vbucket_uuid(self, vbucket: int) -> int:
        """Return the uuid of a vbucket's history: 63 bits, never 0, the same after a restart."""
        found = self._uuids.get(vbucket)
        if found is None:
            identity = f"{self._identity}:{vbucket}" if vbucket else self._identity
            found = self._uuids[vbucket] = uuid5(_NAMESPACE, identity).int >> 65 or 1
        return found

    def collection(self, number: int) -> Collection | None:
        """Return the collection with an id, or None."""
        return self._collections.get(number)

    def drops(self, number: int) -> int:
        """Return how often a collection with this id was dropped since the bucket was opened: another one may get the id."""
        return self._drops.get(number, 0)

    def held(self, collection: int) -> Space:
        """Return how much a collection holds, given its id."""
        return self.engine.spaces.get(prefix_of(collection), Space())

    def collection_of(self, key: bytes) -> Collection | None:
        """Return the collection of a stored key, or None if it was dropped or never existed."""
        return self._collections.get(key[0] if key[0] < 0x80 else collection_id(key))

    def collection_name(self, key: bytes) -> str | None:
        """Return the names of the scope and the collection of a stored key, with a dot between them; None if there are none."""
        found = self.collection_of(key)
        for scope in self.manifest.scopes:
            if found in scope.collections:
                return f"{scope.name}.{found.name}" if found is not None else None
        return None

    def note_accesses(self) -> Accesses:
        """Note reads of items from now on, and return what is known of those so far."""
        if self.accesses is None:
            self.accesses = Accesses()
        return self.accesses

    def read_in_thread(self, key: bytes, *, tombstones: bool = False) -> Item | None:
        """Read one item in a worker thread, for engines whose reads have to wait: if asked to, its tombstone if there is none."""
        reader = self.engine.open_reader()
        try:
            return reader.find(key) if tombstones and self.engine.tombstones else reader.get(key)
        finally:
            reader.close()

    async def operate(self, operations: list[Operation], spent: Spent | None = None) -> list[Outcome]:
        """Hand operations to the writer thread, and wait until they are committed.

        If cancelled while waiting, they may be committed all the same.

        Args:
            operations: The operations.
            spent: Where to note how long this waited, and for what. None: nobody wants to know.

        Raises:
            OutcomeUnknownError: The engine has failed, and nobody knows whether they are committed. Whoever asked for them can only
                be disconnected. This is a `trio.BrokenResourceError`.
        """
        task = trio.lowlevel.current_task()
        outcomes: list[Outcome] = []
        waiting = True
        submitted = 0.0 if spent is None else perf_counter()

        def done(answer: list[Outcome]) -> None:
            nonlocal waiting
            outcomes.extend(answer)
            if spent is not None:
                _note_writing(spent, submitted, self.engine.group_began)
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
        if any(outcome.problem is Problem.UNKNOWN for outcome in outcomes):
            raise OutcomeUnknownError("the engine failed during a commit: nobody knows whether it took place")
        return outcomes

    async def change_manifest(self, manifest: Manifest) -> Problem | None:
        """Store another manifest, and use it from then on. `sweep` removes the items of dropped collections.

        Raises:
            ManifestError: The manifest can't follow the one in use, or not yet.
        """
        async with self._changing:
            return await self._change_manifest(manifest)

    async def edit_manifest(self, edit: Callable[[Manifest], Manifest]) -> Problem | None:
        """Store what a function makes of the manifest in use, and use it from then on. No other change comes in between.

        Raises:
            ManifestError: The new manifest can't be used.
            Exception: The function has raised it.
        """
        async with self._changing:
            return await self._change_manifest(parse_manifest(edit(self.manifest).to_json()))

    async def _change_manifest(self, manifest: Manifest) -> Problem | None:
        check_change(self.manifest, manifest)
        for number in manifest.by_id():
            left = prefix_of(number) in self.engine.spaces or prefix_of(number) in self.engine.tombstones
            if left and number not in self._collections:
                raise StillRemovingError(
                    f"the collection with the uid {number:x} was dropped, and its items are still being removed; try again"
                )
        (outcome,) = await self.operate([Remember(_MANIFEST, manifest.to_json())])
        if outcome.problem is None:
            self._use(manifest)
        return outcome.problem

    async def change_options(self, options: BucketOptions) -> Problem | None:
        """Store other options, and use them from then on."""
        async with self._changing:
            (outcome,) = await self.operate([Remember(OPTIONS, options.to_json())])
            if outcome.problem is None:
                self.options = options
                self._limit()
        return outcome.problem

    def set_options_in_thread(self, options: BucketOptions) -> None:
        """Store other options, while nobody else uses the bucket.

        Raises:
            EngineError: They can't be stored.
        """
        store_options_in_thread(self.engine, options)
        self.options = options
        self._limit()

    def _is_dropped(self, space: bytes) -> bool:
        try:
            return collection_id(space) not in self._collections
        except ValueError:
            return False  # not written by the service

    async def sweep(self, batch: int = SWEEP) -> None:
        """Remove the items of dropped collections, and their tombstones, `batch` of them in one operation.

        If the engine fails, nothing more is removed.
        """
        for kind, spaces in ((b"", self.engine.spaces), (TOMBSTONE_PREFIX, self.engine.tombstones)):
            for space in list(spaces):
                if self._is_dropped(space):
                    with suppress(trio.BrokenResourceError), self._sweeps.running():
                        await self._sweep(kind, space, batch)

    async def _sweep(self, kind: bytes, space: bytes, batch: int) -> None:
        removed = batch
        while removed == batch and self._is_dropped(space):
            (outcome,) = await self.operate([Remove(kind + space, batch)])
            removed = outcome.number or 0

    def background(self) -> list[BackgroundWork]:
        """Return what goes on in the background."""
        return [*self.engine.background(), self._sweeps.read("sweep", "removes the items of dropped collections")]


def store_options_in_thread(engine: Engine, options: BucketOptions) -> None:
    """Store the options of a bucket in its store.

    Raises:
        EngineError: They can't be stored.
    """
    (outcome,) = engine.execute([Remember(OPTIONS, options.to_json())])
    if outcome.problem is not None:
        raise StorageError(f"the options of the bucket can't be stored: {outcome.problem.value}")


def _note_writing(spent: Spent, submitted: float, began: float) -> None:
    """Divide the time since operations were submitted in two, at the moment when the writer began with their group."""
    now = perf_counter()
    taken = min(max(began, submitted), now)  # an engine that does not say when it began (0) has been writing from the beginning
    spent.writer_wait += taken - submitted
    spent.writer += now - taken
