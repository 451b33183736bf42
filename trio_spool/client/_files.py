"""Snapshots of a server's files, as a client sees them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import attrs
import google_crc32c

from .._formats import BACKUP_BUCKETS, BACKUP_LIST
from ..mcbp import CHECKSUM_SIZE, FragmentRequest
from ._errors import ChecksumError, ConnectionLostError

# The maximum number of bytes of a manifest, and of files in it: picked, not measured. A server here sends two files in 400 bytes.
MAX_MANIFEST: Final = 1024 * 1024
_MAX_FILES: Final = 1000
# The name of a file: one that every file system can have, that no shell takes for an option, and that is hidden nowhere.
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
# The directory of a backup has files of its own: the manifest, and those of which only a part is here. With several buckets, there
# are a list and a directory of them.
MANIFEST: Final = "backup.json"
PARTIAL: Final = ".partial"
_RESERVED: Final = frozenset({MANIFEST, BACKUP_LIST, BACKUP_BUCKETS})
_UUID: Final = re.compile(r"[\x21-\x7e]{1,250}")
_SHA512: Final = re.compile(r"[0-9a-f]{128}")
_MAX_SIZE: Final = 2**63 - 1


@attrs.frozen
class ManifestFile:
    """A file of a snapshot.

    Attributes:
        id: The id by which to ask for the file.
        path: The name, without directories.
        size: The size, in bytes.
        sha512: The SHA-512 of the content, in hexadecimal, or None if the server did not send it.
    """

    id: int
    path: str
    size: int
    sha512: str | None


@attrs.frozen
class Manifest:
    """The manifest of a snapshot.

    Attributes:
        uuid: The name of the snapshot on the server.
        files: The files. Write them in this order: the last one makes their directory a data directory.
    """

    uuid: str
    files: tuple[ManifestFile, ...]

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        """Return the manifest as JSON, which `parse_manifest` can read."""
        files = [attrs.asdict(file) | {"size": str(file.size)} for file in self.files]
        return json.dumps({"uuid": self.uuid, "files": files}, indent=1)


def parse_manifest(text: bytes | str) -> Manifest:
    """Parse the JSON with which a server answers PREPARE_SNAPSHOT.

    Raises:
        ConnectionLostError: The text is not such a manifest; or the name of a file is not a plain name without directories, is one
            that the directory of a backup needs itself, or is there twice. Names that differ only in case count as the same.
    """
    try:
        if len(text) > MAX_MANIFEST:
            raise ValueError
        content = json.loads(text)
        if not isinstance(content["files"], list) or not 0 < len(content["files"]) <= _MAX_FILES:
            raise TypeError
        uuid = str(content["uuid"])
        if not _UUID.fullmatch(uuid):
            raise ValueError
        manifest = Manifest(uuid, tuple(_parse_file(file) for file in content["files"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ConnectionLostError(f"the server sent something other than the manifest of a snapshot: {text[:200]!r}") from None
    if len({file.path.lower() for file in manifest.files}) != len(manifest.files):
        raise ConnectionLostError("the manifest of the snapshot has a file twice")
    return manifest


def _parse_file(file: dict[str, Any]) -> ManifestFile:
    path, sha512 = str(file["path"]), file.get("sha512")
    if not _PATH.fullmatch(path):
        raise ConnectionLostError(f"the snapshot has a file named {path[:80]!r}, not a plain name of at most 100 characters")
    if path.lower() in _RESERVED or path.lower().endswith(PARTIAL):
        raise ConnectionLostError(f"the snapshot has a file named {path!r}, a name that the directory of a backup needs itself")
    number, size = int(file["id"]), int(file["size"])
    sha512 = None if sha512 is None else sha512.lower()
    if not (0 <= number <= _MAX_SIZE and 0 <= size <= _MAX_SIZE and (sha512 is None or _SHA512.fullmatch(sha512))):
        raise ValueError
    return ManifestFile(number, path, size, sha512)


def check_fragment(body: bytes, request: FragmentRequest) -> bytes:
    """Check a fragment, and return its bytes without the checksums.

    Args:
        body: The body of the response.
        request: The request.

    Raises:
        ChecksumError: A checksum is wrong.
        ConnectionLostError: The length of the body is wrong.
    """
    if len(body) != request.body_length:
        raise ConnectionLostError(f"the server sent {len(body)} bytes of a file, not {request.body_length}")
    if not request.checksum_length:
        return body
    pieces: list[bytes] = []
    offset = 0
    while offset < len(body):
        end = min(offset + request.checksum_length, len(body) - CHECKSUM_SIZE)
        piece = body[offset:end]
        if google_crc32c.value(piece) != int.from_bytes(body[end : end + CHECKSUM_SIZE], "big"):
            where = request.offset + sum(len(earlier) for earlier in pieces)
            raise ChecksumError(f"the {len(piece)} bytes at offset {where} did not arrive as they were sent: their CRC32-C differs")
        pieces.append(piece)
        offset = end + CHECKSUM_SIZE
    return b"".join(pieces)
