"""All buckets of a service: opened, made and deleted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import trio

from ..._files import explain
from ...engine import DataDirectoryError, open_engine
from ..settings import ServiceError, Settings
from ._bucket import Bucket
from ._keys import space_of

DEFAULT_BUCKET: Final = "default"
# The directory of all other buckets, inside the data directory, which is the default bucket's own.
BUCKETS_DIRECTORY: Final = "buckets"
_NAME: Final = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}")
# Seconds by which the engine's limit on the life of a snapshot is above that of scans. The service ends a scan first, since it
# knows the scan's client; the engine's limit is for the case that it fails to. Picked, not measured: many housekeeping intervals.
LIFE_MARGIN: Final = 5.0


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
    """

    def __init__(self, settings: Settings, wake: Callable[[Callable[[], None]], object]) -> None:
        self._settings = settings
        self._wake = wake
        self._buckets: dict[str, Bucket] = {}
        self._changing = trio.Lock()

    def __iter__(self) -> Iterator[Bucket]:
        """Iterate over the buckets."""
        return iter(list(self._buckets.values()))

    def get(self, name: str) -> Bucket | None:
        """Return the bucket of a name, or None."""
        return self._buckets.get(name)

    @property
    def default(self) -> Bucket:
        """The bucket that always exists."""
        return self._buckets[DEFAULT_BUCKET]

    def _directory(self, name: str) -> Path | None:
        root = self._settings.data_dir
        if root is None or name == DEFAULT_BUCKET:
            return root
        return root / BUCKETS_DIRECTORY / name

    def open_all_in_thread(self) -> None:
        """Open every bucket of the data directory.

        Raises:
            EngineError: A directory can't be used.
        """
        # The default bucket first: opening it finds what is wrong with the data directory.
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
        try:
            return Bucket(name, engine, settings.vbuckets)
        except BaseException:
            engine.close()
            raise

    def close_all_in_thread(self) -> None:
        """Carry out the queued operations, and close every bucket."""
        for bucket in self._buckets.values():
            bucket.engine.close()

    async def create(self, name: str) -> None:
        """Make a bucket.

        Raises:
            BucketError: The name is not valid, is taken, or the limit of buckets is reached.
            EngineError: The directory of the bucket can't be used.
        """
        if not _NAME.fullmatch(name):
            raise BucketError(
                f"{name!r:.120} can't be the name of a bucket: a name is 1 to 100 of A-Z a-z 0-9 _ - . %, and begins with no dot"
            )
        async with self._changing:
            if name in self._buckets:
                raise BucketExistsError(f"a bucket {name!r} exists already")
            if len(self._buckets) >= self._settings.max_buckets:
                raise BucketError(
                    f"the limit of {self._settings.max_buckets} buckets is reached: delete one, or raise --max-buckets"
                )
            with trio.CancelScope(shield=True):
                self._buckets[name] = await trio.to_thread.run_sync(self._open_in_thread, name)

    async def delete(self, name: str, leave: Callable[[Bucket], object]) -> None:
        """Delete a bucket and everything in it.

        Args:
            name: The name of the bucket.
            leave: Called once nobody can select the bucket any more; ends everything that uses it.

        Raises:
            BucketError: No bucket has that name, or it is the default one.
        """
        async with self._changing:
            if name == DEFAULT_BUCKET:
                raise BucketError("the bucket default can't be deleted; empty it instead")
            bucket = self._buckets.pop(name, None)
            if bucket is None:
                raise NoBucketError(f"no bucket is named {name!r:.120}")
            leave(bucket)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._delete_in_thread, bucket)

    def _delete_in_thread(self, bucket: Bucket) -> None:
        bucket.engine.close()
        directory = self._directory(bucket.name)
        if directory is not None:
            # A renamed directory is not opened again if removing it is interrupted.
            doomed = directory.with_name(f".deleted-{uuid4().hex}")
            directory.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _names_in_thread(directory: Path) -> list[str]:
    """Return the names of the buckets in a directory, and remove the remains of deleted ones."""
    try:
        found = sorted(directory.iterdir())
        for path in found:
            if path.name.startswith(".deleted-"):
                shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in found if _NAME.fullmatch(path.name) and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise DataDirectoryError(f"can't read the buckets in {directory}: {explain(exc)}; check who owns it") from exc
