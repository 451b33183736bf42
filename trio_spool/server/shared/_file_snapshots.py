"""Snapshots of the database's files.

Each is a directory under ``snapshots`` in the data directory, from which a service can be started. It exists until it is
released, until nobody has read it for a while, and never longer than the service runs. A snapshot *belongs* to the connection that
made it, or that read it after that one had gone. When its connection has gone, it waits for another one, since a backup goes on
after a broken connection; but then it does not keep others from making one: it gives way to them, and so does a snapshot that its
client has stopped reading.

Functions whose name ends with ``_in_thread`` belong to worker threads; the event loop's thread uses the rest.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs
import trio

from ...engine import CopiedFile
from ..settings import LimitHits, ServiceError
from ._shares import Shares

DIRECTORY = "snapshots"
# Seconds after which a snapshot that nobody reads gives way to another one, although its connection is open: a backup asks for the
# next fragment as soon as it has written one. Picked, not measured.
PATIENCE: Final = 30.0


class TooManyFileSnapshotsError(ServiceError):
    """The limit of snapshots is reached."""


@attrs.define(eq=False)
class FileSnapshot:
    """One snapshot.

    Attributes:
        uuid: The name by which clients ask for it.
        bucket: The uuid of its bucket.
        owner: The number of the connection that it belongs to; 0 if that has gone.
        user: The name of the user who made it, or nothing.
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
    owner: int
    user: str
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

    @property
    def gives_way(self) -> bool:
        """Whether it may be removed if there is no other place for a new one."""
        unread = self.files and not self.readers
        return bool(unread) and (not self.owner or self.clock() - self.used >= PATIENCE)

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
            "connection": self.owner,
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
        max_per_connection: The maximum number of snapshots that belong to one connection.
        max_idle: Seconds after which a snapshot that nobody reads is removed.
        clock: The monotonic clock.

    Attributes:
        prepared: How many snapshots have been made.
        expired: How many of them were removed because nobody read them.
        limits: How often each limit was reached.
    """

    def __init__(
        self,
        data_dir: Path | None,
        max_kept: int,
        max_per_connection: int,
        max_idle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = data_dir / DIRECTORY if data_dir is not None else Path()
        self._max_kept = max_kept
        self._max_per_connection = max_per_connection
        self._max_idle = max_idle
        self._clock = clock
        # Removing is one thread's work: several would take turns at the disk.
        self._removers = trio.CapacityLimiter(1)
        self._kept: dict[str, FileSnapshot] = {}
        self.shares: Shares | None = None  # what one bucket and one user may have; everything if nobody says so
        self.prepared = 0
        self.expired = 0
        self.limits = LimitHits()

    def change(self, max_kept: int, max_per_connection: int, max_idle: float) -> None:
        """Have other limits. Snapshots that are kept already stay."""
        self._max_kept = max_kept
        self._max_per_connection = max_per_connection
        self._max_idle = max_idle

    def __iter__(self) -> Iterator[FileSnapshot]:
        return iter(list(self._kept.values()))

    def begin(self, bucket: str, owner: int, seqno: int, user: str = "") -> tuple[FileSnapshot, list[FileSnapshot]]:
        """Keep a place for a snapshot that is about to be made.

        Args:
            bucket: The uuid of its bucket.
            owner: The number of the connection that makes it.
            seqno: The engine's sequence number.
            user: The name of the user, or nothing.

        Returns:
            The snapshot, and those that gave way to it. `remove` deletes their files.

        Raises:
            TooManyFileSnapshotsError: No place is free.
        """
        if sum(snapshot.owner == owner for snapshot in self) >= self._max_per_connection:
            self.limits.hit("max-snapshots-per-connection")
            raise TooManyFileSnapshotsError(
                f"the limit of {self._max_per_connection} snapshots of one connection is reached: release one, or raise "
                "--max-snapshots-per-connection"
            )
        self._check_shares(bucket, user)
        gone = self._make_room()
        if len(self._kept) >= self._max_kept:
            self.limits.hit("max-snapshots")
            raise TooManyFileSnapshotsError(
                f"the limit of {self._max_kept} snapshots is reached, and all are being read: release one, or raise --max-snapshots"
            )
        identity = str(uuid.uuid4())
        snapshot = FileSnapshot(identity, bucket, owner, user, self._directory / identity, seqno, self._clock)
        self._kept[identity] = snapshot
        return snapshot, gone

    def _check_shares(self, bucket: str, user: str) -> None:
        """Refuse a snapshot beyond the share of its bucket or of its user. Those that give way do not count.

        Raises:
            TooManyFileSnapshotsError: It is beyond that.
        """
        if self.shares is None:
            return
        counted = [snapshot for snapshot in self if not snapshot.gives_way]
        most = self.shares.of_bucket(self._max_kept)
        if sum(snapshot.bucket == bucket for snapshot in counted) >= most:
            self.limits.hit("bucket-share")
            raise TooManyFileSnapshotsError(
                f"the limit of {most} snapshots of one bucket is reached: release one, or raise --bucket-share or --max-snapshots"
            )
        most = self.shares.of_user(self._max_kept)
        if user and sum(snapshot.user == user for snapshot in counted) >= most:
            self.limits.hit("user-share")
            raise TooManyFileSnapshotsError(
                f"the limit of {most} snapshots of one user is reached: release one, or raise --user-share or --max-snapshots"
            )

    def _make_room(self) -> list[FileSnapshot]:
        """If no place is free, forget the snapshot that was read the longest ago, first of those whose connection has gone."""
        if len(self._kept) < self._max_kept:
            return []
        waiting = [snapshot for snapshot in self if snapshot.gives_way]
        if not waiting:
            return []
        oldest = min(waiting, key=lambda snapshot: (snapshot.owner != 0, snapshot.used))
        self.expired += 1
        self.forget(oldest)
        return [oldest]

    def find(self, identity: str, bucket: str, owner: int) -> FileSnapshot | None:
        """Return a finished snapshot, or None, and note that it is in use. To clients of another bucket it does not exist.

        It belongs to the connection that asks from now on, if that to which it belonged has gone.
        """
        snapshot = self._kept.get(identity)
        if snapshot is None or snapshot.bucket != bucket or not snapshot.files:
            return None
        snapshot.owner = snapshot.owner or owner
        snapshot.touch()
        return snapshot

    def end_of(self, owner: int) -> None:
        """Note that a connection has gone: its snapshots give way to others from now on."""
        for snapshot in self:
            if snapshot.owner == owner:
                snapshot.owner = 0

    def forget(self, snapshot: FileSnapshot) -> None:
        """Give the place of a snapshot back. `remove` deletes its files."""
        self._kept.pop(snapshot.uuid, None)

    def take_idle(self) -> list[FileSnapshot]:
        """Forget the snapshots that nobody has read for a while, and return them, so that their files can be removed."""
        oldest = self._clock() - self._max_idle
        idle = [snapshot for snapshot in self if snapshot.files and not snapshot.readers and snapshot.used <= oldest]
        for snapshot in idle:
            self.expired += 1
            self.limits.hit("snapshot-idle")
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
