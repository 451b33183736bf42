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
        id: What it is asked for by.
        path: Its name; a plain one, without directories.
        size: In bytes.
        sha512: Of its content, in hexadecimal; None if the server does not say.
    """

    id: int
    path: str
    size: int
    sha512: str | None


@attrs.frozen
class Manifest:
    """What a snapshot consists of. The files are to be written in this order: the last one makes it a data directory."""

    uuid: str
    files: tuple[ManifestFile, ...]

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        """Return what `parse_manifest` parses."""
        files = [attrs.asdict(file) | {"size": str(file.size)} for file in self.files]
        return json.dumps({"uuid": self.uuid, "files": files}, indent=1)


def parse_manifest(text: bytes | str) -> Manifest:
    """Parse the JSON that a server replies to PREPARE_SNAPSHOT.

    Raises:
        ConnectionLostError: It is not what it should be. A name that leads out of its directory is refused as well.
    """
    try:
        content = json.loads(text)
        if not isinstance(content["files"], list) or not content["files"]:
            raise TypeError
        manifest = Manifest(str(content["uuid"]), tuple(_parse_file(file) for file in content["files"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ConnectionLostError(f"this is not the manifest of a snapshot: {text!r:.200}") from None
    if len({file.path for file in manifest.files}) != len(manifest.files):
        raise ConnectionLostError("the manifest of the snapshot names a file twice")
    return manifest


def _parse_file(file: dict[str, Any]) -> ManifestFile:
    path, sha512 = str(file["path"]), file.get("sha512")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", path):
        raise ConnectionLostError(f"the snapshot has a file {path!r:.80}, which is not a plain name")
    size = int(file["size"])
    if size < 0 or not (sha512 is None or isinstance(sha512, str)):
        raise ValueError
    return ManifestFile(int(file["id"]), path, size, sha512.lower() if sha512 is not None else None)


def check_fragment(body: bytes, request: FragmentRequest) -> bytes:
    """Return the bytes of the file that the body of a fragment has, without the checksums.

    Raises:
        ChecksumError: One differs.
        ConnectionLostError: The body has another length than was asked for.
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
            raise ChecksumError(f"the {len(piece)} bytes at {where} did not arrive as they were sent: their CRC32-C differs")
        pieces.append(piece)
        offset = end + CHECKSUM_SIZE
    return b"".join(pieces)
