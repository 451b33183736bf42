"""Snapshots of the database's files.

Each is a directory under ``snapshots`` in the data directory, from which a service can be started. It exists until it is
released, until nobody has read it for a while, and never longer than the service runs. Functions whose name ends with
``_in_thread`` belong to worker threads; the event loop's thread uses the rest.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import trio

from ...engine import CopiedFile
from ..settings import ServiceError

DIRECTORY = "snapshots"


class TooManyFileSnapshotsError(ServiceError):
    """The limit of snapshots is reached."""


@attrs.define(eq=False)
class FileSnapshot:
    """One snapshot.

    Attributes:
        uuid: The name by which clients ask for it.
        bucket: The uuid of its bucket.
        directory: Where its files are.
        seqno: The engine's sequence number when the copy began. The copy has at least everything up to it.
        clock: The monotonic clock.
        files: Its files; empty while they are being copied.
        began: When it was begun, by the clock.
        used: When somebody last asked for it, by the clock.
        readers: How many fragments of it are being sent.
    """

    uuid: str
    bucket: str
    directory: Path
    seqno: int
    clock: Callable[[], float] = time.monotonic
    files: list[CopiedFile] = attrs.field(factory=list)
    began: float = attrs.field(init=False)
    used: float = attrs.field(init=False)
    readers: int = 0

    def __attrs_post_init__(self) -> None:
        self.began = self.used = self.clock()

    def touch(self) -> None:
        """Note that it is in use now."""
        self.used = self.clock()

    def manifest(self) -> dict[str, object]:
        """Return the list of its files that clients get, in values that JSON can hold."""
        files = [
            {"id": number, "path": file.name, "size": str(file.size), "sha512": file.sha512}
            for number, file in enumerate(self.files, 1)
        ]
        return {"uuid": self.uuid, "files": files}

    def file(self, number: int) -> CopiedFile | None:
        """Return the file with an id of the manifest, or None."""
        return self.files[number - 1] if 1 <= number <= len(self.files) else None

    def remove_in_thread(self) -> None:
        """Delete its files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics."""
        now = self.clock()
        return {
            "state": ("sending" if self.readers else "ready") if self.files else "copying",
            "seconds": round(now - self.began, 3),
            "idle": 0 if self.readers or not self.files else round(now - self.used, 3),
            "seqno": self.seqno,
            "bytes": sum(file.size for file in self.files),
            "files": len(self.files),
        }


class FileSnapshots:
    """The snapshots that exist or are being made.

    Args:
        data_dir: The data directory; None if there is none.
        max_kept: The maximum number of snapshots.
        max_idle: Seconds after which a snapshot that nobody reads is removed.
        clock: The monotonic clock.

    Attributes:
        prepared: How many snapshots have been made.
        expired: How many of them were removed because nobody read them.
    """

    def __init__(self, data_dir: Path | None, max_kept: int, max_idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = data_dir / DIRECTORY if data_dir is not None else Path()
        self._max_kept = max_kept
        self._max_idle = max_idle
        self._clock = clock
        # Removing is one thread's work: several would take turns at the disk.
        self._removers = trio.CapacityLimiter(1)
        self._kept: dict[str, FileSnapshot] = {}
        self.prepared = 0
        self.expired = 0

    def __iter__(self) -> Iterator[FileSnapshot]:
        return iter(list(self._kept.values()))

    def change(self, max_kept: int, max_idle: float) -> None:
        """Have other limits. Snapshots that are kept already stay."""
        self._max_kept = max_kept
        self._max_idle = max_idle

    def begin(self, bucket: str, seqno: int) -> FileSnapshot:
        """Keep a place for a snapshot that is about to be made.

        Raises:
            TooManyFileSnapshotsError: No place is free.
        """
        if len(self._kept) >= self._max_kept:
            raise TooManyFileSnapshotsError(
                f"the limit of {self._max_kept} snapshots is reached: release one, or raise --max-snapshots"
            )
        identity = str(uuid.uuid4())
        snapshot = self._kept[identity] = FileSnapshot(identity, bucket, self._directory / identity, seqno, self._clock)
        return snapshot

    def find(self, identity: str, bucket: str) -> FileSnapshot | None:
        """Return a finished snapshot, or None, and note that it is in use. To clients of another bucket it does not exist."""
        snapshot = self._kept.get(identity)
        if snapshot is None or snapshot.bucket != bucket or not snapshot.files:
            return None
        snapshot.touch()
        return snapshot

    def forget(self, snapshot: FileSnapshot) -> None:
        """Give the place of a snapshot back. `remove` deletes its files."""
        self._kept.pop(snapshot.uuid, None)

    def take_idle(self) -> list[FileSnapshot]:
        """Forget the snapshots that nobody has read for a while, and return them, so that their files can be removed."""
        oldest = self._clock() - self._max_idle
        idle = [snapshot for snapshot in self if snapshot.files and not snapshot.readers and snapshot.used <= oldest]
        for snapshot in idle:
            self.expired += 1
            self.forget(snapshot)
        return idle

    async def remove(self, snapshots: list[FileSnapshot]) -> None:
        """Delete the files of snapshots. Cancelling waits until they are deleted."""
        with trio.CancelScope(shield=True):
            for snapshot in snapshots:
                await trio.to_thread.run_sync(snapshot.remove_in_thread, limiter=self._removers)


def remove_all_in_thread(data_dir: Path) -> None:
    """Delete the snapshots of an earlier run, or of this one."""
    shutil.rmtree(data_dir / DIRECTORY, ignore_errors=True)
