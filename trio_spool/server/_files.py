"""Snapshots of the database's files: which there are, and what a fragment of one consists of.

Each is a directory that can be served, under ``snapshots`` in the data directory. It is there until it is released, until nobody
has asked for a piece of it for a while, and no longer than the service runs. What a worker calls says so; the rest is used by the
event loop's thread.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import google_crc32c

from ..engine import CopiedFile
from ..mcbp import CHECKSUM_SIZE, FragmentRequest, encode_fragment_header

DIRECTORY = "snapshots"
# What is read of a file, and handed over, at once.
PIECE = 256 * 1024


class TooManyFileSnapshotsError(Exception):
    """As many snapshots are kept as may be."""


@attrs.define(eq=False)
class FileSnapshot:
    """One snapshot.

    Attributes:
        uuid: Stands for it.
        bucket: The uuid of the bucket that it is of.
        directory: Where it is.
        seqno: The engine's sequence number when it was begun, so that it has at least everything up to there.
        files: What it consists of; empty while it is being made.
        began: When, on the monotonic clock, like the next one.
        used: When it was last asked for.
        readers: How many fragments of it are being sent.
    """

    uuid: str
    bucket: str
    directory: Path
    seqno: int
    files: list[CopiedFile] = attrs.field(factory=list)
    began: float = attrs.field(factory=time.monotonic)
    used: float = attrs.field(factory=time.monotonic)
    readers: int = 0

    def manifest(self) -> dict[str, object]:
        """Return what PREPARE_SNAPSHOT replies."""
        files = [
            {"id": number, "path": file.name, "size": str(file.size), "sha512": file.sha512}
            for number, file in enumerate(self.files, 1)
        ]
        return {"uuid": self.uuid, "files": files}

    def file(self, number: int) -> CopiedFile | None:
        """Return the file with a number of the manifest."""
        return self.files[number - 1] if 1 <= number <= len(self.files) else None

    def remove_in_thread(self) -> None:
        """Delete its files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def describe(self) -> dict[str, object]:
        """Describe it, for the statistics."""
        now = time.monotonic()
        return {
            "state": ("sending" if self.readers else "ready") if self.files else "copying",
            "seconds": round(now - self.began, 3),
            "idle": 0 if self.readers or not self.files else round(now - self.used, 3),
            "seqno": self.seqno,
            "bytes": sum(file.size for file in self.files),
            "files": len(self.files),
        }


class FileSnapshots:
    """Those that are kept, or being made.

    Args:
        data_dir: The engine's data directory; None if it has none.
        most: How many there may be.
        idle: Seconds after which one is removed that nobody asks for.
    """

    def __init__(self, data_dir: Path | None, most: int, idle: float) -> None:
        self._directory = data_dir / DIRECTORY if data_dir is not None else Path()
        self._most = most
        self._idle = idle
        self._kept: dict[str, FileSnapshot] = {}
        self.prepared = 0
        self.expired = 0

    def __iter__(self) -> Iterator[FileSnapshot]:
        return iter(list(self._kept.values()))

    def begin(self, bucket: str, seqno: int) -> FileSnapshot:
        """Keep a place for one that is about to be made.

        Raises:
            TooManyFileSnapshotsError: There is none.
        """
        if len(self._kept) >= self._most:
            raise TooManyFileSnapshotsError(f"{self._most} snapshots are kept, as many as may be; release one")
        identity = str(uuid.uuid4())
        snapshot = self._kept[identity] = FileSnapshot(identity, bucket, self._directory / identity, seqno)
        return snapshot

    def find(self, identity: str, bucket: str) -> FileSnapshot | None:
        """Return one that is ready. To those who work on another bucket it does not exist, whoever they are."""
        snapshot = self._kept.get(identity)
        if snapshot is None or snapshot.bucket != bucket or not snapshot.files:
            return None
        snapshot.used = time.monotonic()
        return snapshot

    def forget(self, snapshot: FileSnapshot) -> None:
        """Give its place back. Its files are to be removed by `FileSnapshot.remove_in_thread`."""
        self._kept.pop(snapshot.uuid, None)

    def take_idle(self) -> list[FileSnapshot]:
        """Forget those that nobody has asked for in a while, and return them, for their files to be removed."""
        oldest = time.monotonic() - self._idle
        idle = [snapshot for snapshot in self if snapshot.files and not snapshot.readers and snapshot.used <= oldest]
        for snapshot in idle:
            self.expired += 1
            self.forget(snapshot)
        return idle


def remove_all_in_thread(data_dir: Path) -> None:
    """Remove what an earlier run has left, or this one."""
    shutil.rmtree(data_dir / DIRECTORY, ignore_errors=True)


def fragment_in_thread(path: Path, request: FragmentRequest, opaque: int) -> Iterator[bytes]:
    """Generate the response to GET_FILE_FRAGMENT.

    Raises:
        OSError: Reading failed: the first time, before the header.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(request.offset)
        first = _read_exactly(file.fileno(), min(PIECE, request.length))
        yield encode_fragment_header(opaque, request.body_length)
        pieces = _pieces(file.fileno(), first, request.length)
        yield from pieces if not request.checksum_length else _with_checksums(pieces, request)


def _pieces(descriptor: int, piece: bytes, left: int) -> Iterator[bytes]:
    while left:
        yield piece
        left -= len(piece)
        piece = _read_exactly(descriptor, min(PIECE, left))


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            raise OSError("the file is shorter than it was")
        data += more
    return data


def _with_checksums(pieces: Iterator[bytes], request: FragmentRequest) -> Iterator[bytes]:
    """Insert a checksum behind each so many bytes, and behind the last ones."""
    every = request.checksum_length
    checksum, missing, left = 0, every, request.length
    for piece in pieces:
        out = []
        offset = 0
        while offset < len(piece):
            part = piece[offset : offset + missing]
            checksum = google_crc32c.extend(checksum, part)
            out.append(part)
            offset += len(part)
            missing -= len(part)
            left -= len(part)
            if not missing or not left:
                out.append(checksum.to_bytes(CHECKSUM_SIZE, "big"))
                checksum, missing = 0, every
        yield b"".join(out)
