"""PREPARE_SNAPSHOT, GET_FILE_FRAGMENT, RELEASE_SNAPSHOT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import google_crc32c

from ....mcbp import (
    CHECKSUM_SIZE,
    DataType,
    FragmentRequest,
    KeyRule,
    Opcode,
    Request,
    encode_fragment_header,
    parse_fragment_request,
    shape,
)
from ...commands import snapshots
from ...commands.errors import InvalidRequestError
from ...conversation import ADMIN_OF_BUCKET
from ...shared import FileSnapshot
from ._exchange import BinaryContext, BinaryExchange
from ._gate import not_my_vbucket
from ._row import Command

# The maximum bytes of JSON that asks for a snapshot: it is parsed on the event loop. Couchbase's own have some dozens.
_MAX_VALUE: Final = 16 * 1024


def prepare_snapshot(exchange: BinaryExchange, request: Request) -> None:
    """Make a snapshot of the database's files.

    Value: a JSON object, of which nothing is needed here, or nothing. Reply: the manifest, JSON.
    """
    try:
        valid = not request.value or (len(request.value) <= _MAX_VALUE and isinstance(json.loads(request.value), dict))
    except (ValueError, RecursionError):
        valid = False
    if request.vbucket >= exchange.bucket.vbuckets:
        not_my_vbucket(exchange, request)
    elif not valid:
        raise InvalidRequestError("the value must be a JSON object")
    else:
        exchange.later(_prepare)


async def _prepare(context: BinaryContext) -> None:
    def begun(snapshot: FileSnapshot) -> None:
        context.label = snapshot.uuid

    snapshot = await snapshots.prepare(context.shared, context.connection, context.bucket, context.in_worker, begun, context.user)
    manifest = json.dumps(snapshot.manifest()).encode()
    await context.reply(context.encode(value=manifest, datatype=DataType.JSON))


def get_file_fragment(exchange: BinaryExchange, request: Request) -> None:
    """Return a part of a file of a snapshot.

    Key: the snapshot's uuid. Value: see `parse_fragment_request`. Reply: the bytes, with checksums if they were asked for.
    """
    wanted = parse_fragment_request(request.value)
    exchange.later(lambda context: _fragment(context, wanted))


async def _fragment(context: BinaryContext, wanted: FragmentRequest) -> None:
    shared, owner, bucket, uuid = context.shared, context.connection, context.bucket, _uuid(context.request)
    with snapshots.reading(shared, owner, bucket, uuid, wanted.id, wanted.offset, wanted.length) as path:
        await context.spool_whole(frame_in_thread(path, wanted, context.request.opaque))


def _uuid(request: Request) -> str:
    return request.key.decode("utf-8", "replace")


def frame_in_thread(path: Path, wanted: FragmentRequest, opaque: int, size: int = snapshots.PIECE) -> Iterator[bytes]:
    """Yield the reply: its header once the first piece could be read, so that a file that can't be opened is still an error reply.

    Raises:
        OSError: Reading failed.
    """
    pieces = snapshots.pieces_in_thread(path, wanted.offset, wanted.length, size)
    first = next(pieces, b"")
    yield encode_fragment_header(opaque, wanted.body_length)
    yield from _with_checksums(first, pieces, wanted) if wanted.checksum_length else _all(first, pieces)


def _all(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from pieces


def _with_checksums(first: bytes, pieces: Iterator[bytes], wanted: FragmentRequest) -> Iterator[bytes]:
    """Insert a CRC32-C after every `checksum_length` bytes, and after the last ones."""
    every = wanted.checksum_length
    checksum, missing, left = 0, every, wanted.length
    for piece in _all(first, pieces):
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


def release_snapshot(exchange: BinaryExchange, request: Request) -> None:
    """Release a snapshot, and delete its files.

    Key: the snapshot's uuid. Fragments that are being sent may fail, which ends their connections.
    """
    exchange.later(_release)


async def _release(context: BinaryContext) -> None:
    await snapshots.release(context.shared, context.connection, context.bucket, _uuid(context.request))
    await context.reply(context.encode())


COMMANDS: Final = (
    Command(Opcode.PREPARE_SNAPSHOT, shape(0, value=True), prepare_snapshot, ADMIN_OF_BUCKET, reorderable=True),
    Command(Opcode.RELEASE_SNAPSHOT, shape(0, key=KeyRule.REQUIRED), release_snapshot, ADMIN_OF_BUCKET),
    Command(
        Opcode.GET_FILE_FRAGMENT,
        shape(0, key=KeyRule.REQUIRED, value=True),
        get_file_fragment,
        ADMIN_OF_BUCKET,
        reorderable=True,
        whole=True,
    ),
)
