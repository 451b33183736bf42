"""Snapshots of the database's files: making one, reading its files, and releasing it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from ..._files import explain
from ...engine import DamagedError, EngineError, NoFilesError
from ..data import Bucket
from ..shared import FileSnapshot, Shared
from .errors import CommandError, InvalidRequestError, NotFoundError, NotSupportedError, UnavailableError
from .workers import InWorker

# Bytes of a file that are read, and handed over, at once. Picked, not measured: the largest size of a batch by default is half of
# it.
PIECE = 256 * 1024
_FAILED: Final = "snapshot failed"


async def prepare(
    shared: Shared, owner: int, bucket: Bucket, in_worker: InWorker, begun: Callable[[FileSnapshot], object], user: str = ""
) -> FileSnapshot:
    """Make a snapshot of a bucket.

    Args:
        shared: What all connections share.
        owner: The number of the connection.
        bucket: The bucket.
        in_worker: Runs a function in a worker thread, under a limiter.
        begun: Called with the snapshot before it is made.
        user: The name of the user, or nothing.

    Raises:
        TooManyFileSnapshotsError: The limit of snapshots is reached.
        NotSupportedError: The engine keeps no files.
        UnavailableError: Copying failed.

    If cancelled, nothing is left.
    """
    snapshots, engine = shared.snapshots, bucket.engine
    snapshot, gone = snapshots.begin(bucket.uuid, owner, engine.seqno, user)
    begun(snapshot)
    try:
        await snapshots.remove(gone)  # first: there may be no room on the disk for both
        snapshot.files = await in_worker(
            lambda: engine.copy_files(snapshot.directory, trio.from_thread.check_cancelled), shared.copiers
        )
        snapshot.touch()
    except (EngineError, OSError) as exc:
        refused = _translated(exc)
        shared.incidents.report(_FAILED, lasts=True, bucket=bucket.name, reason=str(refused))
        raise refused from exc
    finally:
        if not snapshot.files:
            snapshots.forget(snapshot)
            await snapshots.remove([snapshot])
    snapshots.prepared += 1
    shared.incidents.passed(_FAILED)
    return snapshot


def _translated(error: EngineError | OSError) -> CommandError:
    if isinstance(error, NoFilesError):
        return NotSupportedError(str(error))
    if isinstance(error, DamagedError):
        return CommandError(f"{error}; a copy would be damaged as well")
    if isinstance(error, OSError):
        return UnavailableError(f"can't write the copy: {explain(error)}")
    return UnavailableError(str(error))


def find(shared: Shared, owner: int, bucket: Bucket, uuid: str) -> FileSnapshot:
    """Return a snapshot of a bucket, and note that the connection with the number `owner` uses it.

    Raises:
        NotFoundError: There is no such snapshot.
    """
    snapshot = shared.snapshots.find(uuid, bucket.uuid, owner)
    if snapshot is None:
        raise NotFoundError(f"no snapshot {uuid!r:.80} exists: it was released, or removed because nobody read it")
    return snapshot


@contextmanager
def reading(shared: Shared, owner: int, bucket: Bucket, uuid: str, file_id: int, offset: int, length: int) -> Iterator[Path]:
    """Return the path of a file of a snapshot. The snapshot is in use for as long as the block lasts.

    Raises:
        NotFoundError: There is no such snapshot, or it has no such file.
        InvalidRequestError: The file ends before `offset` + `length`, in bytes.
    """
    snapshot = find(shared, owner, bucket, uuid)
    file = snapshot.file(file_id)
    if file is None:
        raise NotFoundError(f"the snapshot has no file {file_id}")
    if offset + length > file.size:
        raise InvalidRequestError(f"{file.name} has {file.size} bytes, which is less than offset + length, {offset + length}")
    snapshot.readers += 1
    try:
        yield snapshot.directory / file.name
    finally:
        snapshot.readers -= 1
        snapshot.touch()


async def release(shared: Shared, owner: int, bucket: Bucket, uuid: str) -> None:
    """Release a snapshot and delete its files.

    Raises:
        NotFoundError: There is no such snapshot.
    """
    snapshot = find(shared, owner, bucket, uuid)
    shared.snapshots.forget(snapshot)
    await shared.snapshots.remove([snapshot])


def pieces_in_thread(path: Path, offset: int, length: int, size: int = PIECE) -> Iterator[bytes]:
    """Yield `length` bytes of a file from an offset on, in pieces of `size` bytes.

    Raises:
        OSError: Reading failed, or the file has become shorter.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while length:
            piece = _read_exactly(file.fileno(), min(size, length))
            yield piece
            length -= len(piece)


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            raise OSError("the file has become shorter")
        data += more
    return data
