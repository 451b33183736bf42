"""RANGE_SCAN_CREATE, RANGE_SCAN_CONTINUE, RANGE_SCAN_CANCEL, and GET_KEYS."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from ....engine import EXTENDED, Engine, Record, members, split_extended
from ....mcbp import (
    ALL_VBUCKETS,
    CONTINUE,
    DOCUMENTS_EXTRAS,
    KEYS_EXTRAS,
    DataType,
    KeyRule,
    Opcode,
    Request,
    ScanRequest,
    Shape,
    Status,
    encode_scan_frame,
    pack_documents,
    pack_keys,
    pack_xattrs,
    parse_scan_request,
    shape,
)
from ...commands import scans
from ...commands.keys import keys_from_in_thread
from ...conversation import READ, Waits
from ...shared import Continue, ContinueLimits, Ending, Pack, ScanQuery
from ._exchange import BinaryContext, BinaryExchange
from ._gate import not_my_vbucket
from ._row import Command

_KEY_LENGTH = struct.Struct(">H")
# The number of keys that GET_KEYS returns unless it is told otherwise, as in kv_engine.
DEFAULT_KEYS = 1000
_STATUS_OF: Final = {
    Ending.MORE: Status.SCAN_MORE,
    Ending.COMPLETE: Status.SCAN_COMPLETE,
    Ending.CANCELLED: Status.SCAN_CANCELLED,
    Ending.DROPPED: Status.UNKNOWN_COLLECTION,
    Ending.FAILED: Status.INTERNAL,
}


def create_scan(exchange: BinaryExchange, request: Request) -> None:
    """Create a range scan.

    Value: a JSON object, see `parse_scan_request`. Reply: 16 bytes that name the scan. The vbucket is the one to scan, or
    `ALL_VBUCKETS`: one scan of all of them, in the order of the keys.
    """
    bucket = exchange.bucket
    wanted = parse_scan_request(request.value)
    if request.vbucket >= bucket.vbuckets and request.vbucket != ALL_VBUCKETS:
        not_my_vbucket(exchange, request)
        return
    query, requirements = _query(wanted), _requirements(wanted)
    vbucket = None if request.vbucket == ALL_VBUCKETS else request.vbucket
    scans.check(bucket, vbucket, query, requirements)
    exchange.later(lambda context: _create(context, vbucket, query, requirements))


def _query(wanted: ScanRequest) -> ScanQuery:
    return ScanQuery(
        start=wanted.start, end=wanted.end, samples=wanted.samples, seed=wanted.seed, collection=wanted.collection,
        keys_only=wanted.keys_only, include_xattrs=wanted.include_xattrs, name=wanted.name,
    )  # fmt: skip


def _requirements(wanted: ScanRequest) -> scans.Requirements | None:
    asked = wanted.requirements
    if asked is None:
        return None
    return scans.Requirements(
        vbucket_uuid=asked.vbucket_uuid, seqno=asked.seqno, seqno_exists=asked.seqno_exists, timeout=asked.timeout
    )


async def _create(context: BinaryContext, vbucket: int | None, query: ScanQuery, requirements: scans.Requirements | None) -> None:
    context.label = query.name
    with context.waiting(Waits.SEQNO):
        scan = await scans.create(
            context.shared, context.connection, context.bucket, vbucket, query, requirements, context.in_worker, context.user
        )
    await context.reply(context.encode(value=scan.id))


def continue_scan(exchange: BinaryExchange, request: Request) -> None:
    """Continue a range scan.

    Extras: the scan, and the limits of items u32, milliseconds u32, and bytes u32; 0 is no limit. Reply: any number of frames with
    status OK, and one that says how the continue has ended.
    """
    identity, items, milliseconds, size = CONTINUE.unpack(request.extras)
    limits = ContinueLimits(items, milliseconds / 1000, size)
    exchange.later(lambda context: _continue(context, identity, limits))


async def _continue(context: BinaryContext, identity: bytes, limits: ContinueLimits) -> None:
    scan = scans.find(context.shared, context.bucket, identity)
    context.label = scan.query.name or str(uuid.UUID(bytes=identity))
    extras = KEYS_EXTRAS if scan.query.keys_only else DOCUMENTS_EXTRAS
    with context.shared.scans.continuing(scan, context.connection, limits, _packer(scan.query)) as continue_:
        frames = _Frames(continue_, context.request.opaque, extras, context.shared.buffers.add_in_thread)
        before = scan.items
        context.count_items = lambda: scan.items - before
        # A small answer is one frame, which costs less to fetch than to stream.
        first = await context.in_worker(frames.next_in_thread)
        if continue_.ending is None:
            await context.spool(frames.all_in_thread(first), in_bulk=True)
        assert continue_.ending is not None
        context.exchange.count_failure(context.request.opcode, _STATUS_OF[continue_.ending])
        with context.waiting(Waits.RATE):
            await context.shared.throttle.wait(len(frames.last))
        await context.reply(frames.last)


class _Frames:
    """The frames of one continue.

    The last one is kept apart: the event loop's thread sends it, and then lets the scan go on.

    Args:
        continue_: Reads the documents.
        opaque: The opaque of the request.
        extras: What each frame begins with.
        count: Called with the bytes of each frame.

    Attributes:
        last: The last frame, once the continue has ended.
    """

    def __init__(self, continue_: Continue, opaque: int, extras: bytes, count: Callable[[int], object]) -> None:
        self._continue = continue_
        self._opaque = opaque
        self._extras = extras
        self._count = count
        self.last = b""

    def next_in_thread(self) -> bytes:
        """Return a frame; nothing if there is nothing to send yet, or if it is the last one."""
        pieces = self._continue.next_in_thread()
        ending = self._continue.ending
        self._count(sum(map(len, pieces)))
        if ending is None:
            return encode_scan_frame(Status.OK, self._opaque, self._extras, pieces) if pieces else b""
        # Couchbase's SDKs take a last frame without these extras for an error, even if it has no data.
        extras = self._extras if ending in (Ending.MORE, Ending.COMPLETE) else b""
        self.last = encode_scan_frame(_STATUS_OF[ending], self._opaque, extras, pieces)
        return b""

    def all_in_thread(self, frame: bytes) -> Iterator[bytes]:
        """Yield all frames but the last, beginning with one that is given."""
        while not self.last:
            yield frame
            frame = self.next_in_thread()


def _packer(query: ScanQuery) -> Pack:
    if query.keys_only:
        return pack_keys
    return _pack_with_xattrs if query.include_xattrs else pack_documents


def _pack_with_xattrs(records: list[Record], skip: int) -> list[bytes]:
    return pack_documents(map(_with_xattrs, records), skip)


def _with_xattrs(record: Record) -> Record:
    """Return a record with its extended attributes in the form in which clients get them."""
    key, value, flags, expiry, datatype, cas, seqno = record
    if not datatype & EXTENDED:
        return record
    xattrs, value = split_extended(value)
    return key, pack_xattrs(members(xattrs)) + value, flags, expiry, datatype & ~EXTENDED | DataType.XATTR, cas, seqno


def cancel_scan(exchange: BinaryExchange, request: Request) -> None:
    """Cancel a range scan.

    Extras: the scan. A continue of it that is running ends with a status that says so.
    """
    exchange.shared.scans.end(scans.find(exchange.shared, exchange.bucket, request.extras))
    exchange.answer(request)


def get_keys(exchange: BinaryExchange, request: Request) -> None:
    """Return the keys of a collection in order, from one on.

    Key: the first key, or none. Extras: the number of keys u32. Reply: for each key its length u16, and the key. The reply may have
    fewer keys than were asked for, since its size is limited: go on after the last one.
    """
    count = int.from_bytes(request.extras, "big") if request.extras else DEFAULT_KEYS
    exchange.later(lambda context: _get_keys(context, count))


async def _get_keys(context: BinaryContext, count: int) -> None:
    bucket, request = context.bucket, context.request
    max_bytes = context.shared.settings.max_item_size
    skip = 0 if context.features.collections else 1
    value = await context.in_worker(lambda: _pack_keys_in_thread(bucket.engine, request.key, count, max_bytes, skip))
    await context.reply(context.encode(value=value))


def _pack_keys_in_thread(engine: Engine, start: bytes, count: int, max_bytes: int, skip: int) -> bytes:
    value = bytearray()
    for key in islice(keys_from_in_thread(engine, start), count):
        value += _KEY_LENGTH.pack(len(key) - skip) + key[skip:]
        if len(value) >= max_bytes:
            break
    return bytes(value)


COMMANDS: Final = (
    Command(Opcode.GET_KEYS, Shape(frozenset({0, 4}), KeyRule.OPTIONAL, collection=True), get_keys, READ, reorderable=True),
    Command(Opcode.RANGE_SCAN_CREATE, shape(0, value=True), create_scan, READ, reorderable=True),
    Command(Opcode.RANGE_SCAN_CONTINUE, shape(28), continue_scan, READ, reorderable=True),
    Command(Opcode.RANGE_SCAN_CANCEL, shape(16), cancel_scan, READ, reorderable=True),
)
