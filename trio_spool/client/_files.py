"""Snapshots of a server's files, as a client sees them."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import google_crc32c

from ..mcbp import CHECKSUM_SIZE, FragmentRequest
from ._errors import ChecksumError, ConnectionLostError


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
        ConnectionLostError: The text is not such a manifest, or the name of a file is not a plain name without directories.
    """
    try:
        content = json.loads(text)
        if not isinstance(content["files"], list) or not content["files"]:
            raise TypeError
        manifest = Manifest(str(content["uuid"]), tuple(_parse_file(file) for file in content["files"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ConnectionLostError(f"the server sent something other than the manifest of a snapshot: {text!r:.200}") from None
    if len({file.path for file in manifest.files}) != len(manifest.files):
        raise ConnectionLostError("the manifest of the snapshot has a file twice")
    return manifest


def _parse_file(file: dict[str, Any]) -> ManifestFile:
    path, sha512 = str(file["path"]), file.get("sha512")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", path):
        raise ConnectionLostError(f"the snapshot has a file named {path!r:.80}, which is not a plain name")
    size = int(file["size"])
    if size < 0 or not (sha512 is None or isinstance(sha512, str)):
        raise ValueError
    return ManifestFile(int(file["id"]), path, size, sha512.lower() if sha512 is not None else None)


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
