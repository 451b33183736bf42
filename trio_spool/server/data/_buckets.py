"""All buckets of a service: opened, made and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from ..._files import explain
from ..._incidents import Incidents
from ...engine import (
    DataDirectoryError,
    DirectoryLock,
    Engine,
    EngineError,
    EngineFailedError,
    Evicted,
    UnfinishedDirectoryError,
    find_engine,
    open_engine,
)
from ..settings import LimitHits, ServiceError, Settings
from ._bucket import Bucket, store_options_in_thread
from ._bucket_directories import (
    DEFAULT_BUCKET,
    bucket_names_in_thread,
    directory_of,
    is_bucket_name,
    make_bucket_in_thread,
    remove_broken_in_thread,
    remove_bucket_in_thread,
    remove_remains_in_thread,
)
from ._bucket_options import DEFAULT_OPTIONS, BucketOptions
from ._keys import space_of
from ._staged import may_evict

# Seconds by which the engine's limit on the life of a snapshot is above that of scans. The service ends a scan first, since it
# knows the scan's client; the engine's limit is for the case that it fails to. Picked, not measured: many housekeeping intervals.
LIFE_MARGIN: Final = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("trio_spool")


class BucketError(ServiceError):
    """A bucket can't be made or deleted. The message says why."""


class BucketExistsError(BucketError):
    """A bucket of that name exists."""


class NoBucketError(BucketError):
    """No bucket has that name."""


class Buckets:
    """All buckets of a service.

    Args:
        settings: Where the buckets are, and how they are opened.
        wake: Calls a function in the event loop's thread: see `Engine`.
        open_engine: Stands in for the engine's own function.
        incidents: Takes note of what keeps going wrong; by default, each engine logs it.

    Attributes:
        failed: Set when the engine of a bucket has failed.
        failure: Why, once `failed` is set. The first failure counts.
        limits: How often each limit was reached.
        watches_evictions: Returns whether somebody wants to know what is evicted. Called in threads of engines.
        evicted: Called with a bucket and what was evicted from it, if somebody wants to know.
    """

    def __init__(
        self,
        settings: Settings,
        wake: Callable[[Callable[[], None]], object],
        open_engine: Callable[..., Engine] = open_engine,
        incidents: Incidents | None = None,
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._open_engine = open_engine
        self._incidents = incidents
        # Where each bucket has a directory of its own; None for an engine that keeps nothing there.
        self._root = settings.data_dir if find_engine(settings.engine).needs_directory else None
        self._buckets: dict[str, Bucket] = {}
        self._broken: dict[str, str] = {}
        self._lock: DirectoryLock | None = None  # of the data directory, if the default bucket's engine does not hold it
        self._changing = trio.Lock()
        self.failed = trio.Event()
        self.failure: EngineFailedError | None = None
        self.limits = LimitHits()
        self.watches_evictions: Callable[[], bool] = lambda: False
        self.evicted: Callable[[Bucket, list[Evicted]], object] = lambda bucket, evicted: None

    def __iter__(self) -> Iterator[Bucket]:
        """Iterate over the buckets that can be used."""
        return iter(list(self._buckets.values()))

    def __len__(self) -> int:
        return len(self._buckets)

    def change(self, settings: Settings) -> None:
        """Go on with other settings: see `LIVE`."""
        self._settings = settings
        for bucket in self:
            bucket.follow(settings)

    def get(self, name: str) -> Bucket | None:
        """Return the bucket of a name; None if there is none, or if it is broken."""
        return self._buckets.get(name)

    @property
    def default(self) -> Bucket | None:
        """The bucket that always exists; None if it is broken."""
        return self._buckets.get(DEFAULT_BUCKET)

    @property
    def broken(self) -> Mapping[str, str]:
        """The buckets that exist and could not be opened, with the reason of each."""
        return self._broken

    def stuck(self, seconds: float) -> list[str]:
        """Return the names of the buckets whose writer thread has been at one group of operations for so long."""
        return [bucket.name for bucket in self if bucket.engine.busy_seconds >= seconds]

    # Opening and closing

    def open_all_in_thread(self) -> None:
        """Open every bucket of the data directory. Those that can't be opened are broken, as long as there are others.

        Raises:
            EngineError: The data directory can't be used, or none of its buckets.
        """
        # The default bucket first: opening it finds what is wrong with the data directory, and locks it.
        try:
            self._buckets[DEFAULT_BUCKET] = self._open_in_thread(DEFAULT_BUCKET)
        except EngineError as exc:
            self._go_without_default_in_thread(exc)
        else:
            self._open_others_in_thread()
        for name, reason in self._broken.items():
            _log.error("a bucket can't be used, and is refused", bucket=name, reason=reason)

    def _go_without_default_in_thread(self, error: EngineError) -> None:
        """Open all buckets but the default one, which can't be. If there are none, raise its error."""
        try:
            if self._root is None or not bucket_names_in_thread(self._root):
                raise error
            self._lock = DirectoryLock(self._root)
        except EngineError:
            raise error from None
        self._broken[DEFAULT_BUCKET] = str(error)
        self._open_others_in_thread()
        if not self._buckets:
            raise error

    def _open_others_in_thread(self) -> None:
        if self._root is None:
            return
        remove_remains_in_thread(self._root)
        for name in bucket_names_in_thread(self._root):
            try:
                self._open_other_in_thread(name)
            except UnfinishedDirectoryError:
                # Of a version that made a bucket in the directory of its name. Nobody was told that it exists.
                _log.warning("removing a bucket whose making was interrupted", bucket=name)
                try:
                    remove_bucket_in_thread(self._root, name)
                except EngineError as exc:
                    self._broken[name] = str(exc)

    def _open_other_in_thread(self, name: str) -> None:
        """Open a bucket that exists, or note that it is broken."""
        try:
            self._buckets[name] = self._open_in_thread(name, create=False)
        except UnfinishedDirectoryError:
            raise
        except EngineError as exc:
            self._broken[name] = str(exc)

    def _open_in_thread(self, name: str, *, create: bool = True) -> Bucket:
        bucket = self._open_once_in_thread(name, create=create)
        if not bucket.engine.wants_compaction:
            return bucket
        bucket.engine.close()
        return self._open_once_in_thread(name, create=False, compact=True)

    def _open_once_in_thread(self, name: str, *, create: bool, compact: bool = False) -> Bucket:
        # It gets its bound once its options are known: by that of the settings, it might evict what it may keep.
        engine = self._open_store_in_thread(
            self._directory(name), create=create, compact=compact, evicted=partial(self._evicted_in_thread, name)
        )
        try:
            return Bucket(name, engine, self._settings)
        except BaseException:
            engine.close()
            raise

    def _open_store_in_thread(self, directory: Path | None, *, create: bool, **options: Any) -> Engine:
        settings = self._settings
        try:
            return self._open_engine(
                settings.engine, directory, create=create, allow_network=settings.allow_network_storage, fsync=settings.fsync,
                wake=self._wake, failed=self._fail_in_thread, incidents=self._incidents,
                space_of=space_of, may_evict=may_evict, max_snapshots=settings.max_scans,
                max_snapshot_life=settings.max_scan_life + LIFE_MARGIN, max_held_size=settings.max_held_size,
                verify_reads=settings.verify_reads, scrub_rate=settings.scrub_rate, **options,
            )  # fmt: skip
        except (OSError, MemoryError) as exc:  # no descriptor is left, for example
            reason = explain(exc) if isinstance(exc, OSError) else "out of memory"
            raise DataDirectoryError(f"can't open {directory or 'the store'}: {reason}; correct this, and try again") from exc

    def _evicted_in_thread(self, name: str, evicted: list[Evicted]) -> None:
        if self.watches_evictions():
            self._wake(partial(self._evicted, name, evicted))

    def _evicted(self, name: str, evicted: list[Evicted]) -> None:
        bucket = self._buckets.get(name)
        if bucket is not None:
            self.evicted(bucket, evicted)

    def _directory(self, name: str) -> Path | None:
        data_dir = self._settings.data_dir
        return None if data_dir is None else directory_of(data_dir, name)

    def _fail_in_thread(self, failure: EngineFailedError) -> None:
        self._wake(partial(self._fail, failure))

    def _fail(self, failure: EngineFailedError) -> None:
        if self.failure is None:
            self.failure = failure
            self.failed.set()

    def close_all_in_thread(self) -> None:
        """Carry out the queued operations, and close every bucket.

        Raises:
            EngineError: One could not be closed properly. All are closed.
        """
        with ExitStack() as closing:
            if self._lock is not None:
                closing.callback(self._lock.release)
            for bucket in self._buckets.values():
                closing.callback(bucket.engine.close)

    # Making and deleting

    async def create(self, name: str, options: BucketOptions = DEFAULT_OPTIONS) -> None:
        """Make a bucket.

        Args:
            name: Its name.
            options: Its options.

        Raises:
            BucketError: The name is not valid, is taken, or the limit of buckets is reached.
            EngineError: The directory of the bucket can't be used.
        """
        if not is_bucket_name(name):
            raise BucketError(
                f"{name!r:.120} can't be the name of a bucket: a name is 1 to 100 of A-Z a-z 0-9 _ - . %, and begins with no dot"
            )
        async with self._changing:
            if name in self._broken:
                raise BucketExistsError(f"a bucket {name!r} exists already, and is broken: {self._broken[name]}")
            if name in self._buckets:
                raise BucketExistsError(f"a bucket {name!r} exists already")
            if len(self._buckets) + len(self._broken) >= self._settings.max_buckets:
                self.limits.hit("max-buckets")
                raise BucketError(
                    f"the limit of {self._settings.max_buckets} buckets is reached: delete one, or raise --max-buckets"
                )
            with trio.CancelScope(shield=True):
                self._buckets[name] = await trio.to_thread.run_sync(self.create_in_thread, name, options)

    def create_in_thread(self, name: str, options: BucketOptions = DEFAULT_OPTIONS) -> Bucket:
        """Make a bucket, and open it, while the event loop runs.

        Raises:
            EngineError: It can't be made or opened. It is not there then, and will not be after a restart.
        """
        if self._root is None:
            bucket = self._open_in_thread(name)
            bucket.set_options_in_thread(options)
            return bucket
        make_bucket_in_thread(self._root, name, partial(self._fill_in_thread, options))
        try:
            return self._open_in_thread(name, create=False)
        except BaseException:
            remove_bucket_in_thread(self._root, name)
            raise

    def _fill_in_thread(self, options: BucketOptions, directory: Path) -> None:
        """Make the store of a bucket, with its options."""
        with self._open_store_in_thread(directory, create=True) as engine:
            if options != DEFAULT_OPTIONS:
                store_options_in_thread(engine, options)

    async def delete(self, name: str, leave: Callable[[Bucket], object]) -> None:
        """Delete a bucket and everything in it, also a broken one.

        Args:
            name: The name of the bucket.
            leave: Called once nobody can select the bucket any more; ends everything that uses it.

        Raises:
            BucketError: No bucket has that name, or it is the default one.
            EngineError: Its directory can't be removed, so it is still there.
        """
        async with self._changing:
            if name == DEFAULT_BUCKET:
                raise BucketError("the bucket default can't be deleted; empty it instead")
            bucket = self._buckets.pop(name, None)
            if bucket is None and name not in self._broken:
                raise NoBucketError(f"no bucket is named {name!r:.120}")
            if bucket is not None:
                leave(bucket)
            with trio.CancelScope(shield=True):
                if bucket is not None:
                    await trio.to_thread.run_sync(self.delete_in_thread, bucket)
                else:
                    await trio.to_thread.run_sync(self._delete_broken_in_thread, name)

    def delete_in_thread(self, bucket: Bucket) -> None:
        """Delete a bucket that nobody uses any more.

        Raises:
            EngineError: Its directory can't be removed. It is open again, or broken.
        """
        try:
            bucket.engine.close()
        except EngineError as exc:
            _log.warning("a bucket that is being deleted does not close properly", bucket=bucket.name, reason=str(exc))
        if self._root is not None:
            try:
                remove_bucket_in_thread(self._root, bucket.name)
            except EngineError:
                self._open_other_in_thread(bucket.name)
                raise

    def _delete_broken_in_thread(self, name: str) -> None:
        """Delete a bucket that could not be opened.

        Raises:
            EngineError: Its directory can't be removed, or somebody else uses it.
        """
        if self._root is not None:
            remove_broken_in_thread(self._root, name)
        del self._broken[name]
