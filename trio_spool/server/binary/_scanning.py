"""RANGE_SCAN_CREATE, RANGE_SCAN_CONTINUE, RANGE_SCAN_CANCEL, and GET_KEYS."""

from __future__ import annotations

import struct
import uuid
from itertools import islice

import trio

from ...engine import Engine, EngineError
from ...mcbp import (
    ALL_VBUCKETS,
    CONTINUE,
    RemoteProtocolError,
    Request,
    ScanRequest,
    SnapshotRequirements,
    Status,
    parse_scan_request,
)
from .._buckets import Bucket
from .._exchange import Exchange
from .._jobs import Answer
from .._range_scan import RangeScan, ScanBusyError
from .._scans import TooManyScansError
from ..commands.keys import keys_from_in_thread
from ._gate import not_my_vbucket, unknown_collection

# Seconds between two looks at whether a sequence number has been reached.
POLL = 0.005
_KEY_LENGTH = struct.Struct(">H")
# What GET_KEYS returns if it is not told how many.
DEFAULT_KEYS = 1000


def create_scan(exchange: Exchange, request: Request) -> None:
    """Value: a JSON object, see `parse_scan_request`. Reply: 16 bytes that stand for the scan.

    The vbucket is the one to scan, or `ALL_VBUCKETS`: one scan of all, in the order of the keys.
    """
    bucket, vbucket = exchange.bucket, request.vbucket
    try:
        wanted = parse_scan_request(request.value)
    except RemoteProtocolError as exc:
        exchange.error(request, exc.status_hint or Status.INVALID, str(exc))
        return
    requirements = wanted.requirements
    if vbucket >= bucket.vbuckets and vbucket != ALL_VBUCKETS:
        not_my_vbucket(exchange, request)
    elif bucket.collection(wanted.collection) is None:
        unknown_collection(exchange, request, wanted.collection)
    elif requirements is not None and (problem := _uuid_problem(bucket, vbucket, requirements.vbucket_uuid)):
        exchange.error(request, Status.VBUCKET_UUID_DIFFERS, problem)
    else:
        exchange.later(lambda answer: _create(answer, wanted))


def _uuid_problem(bucket: Bucket, vbucket: int, wanted: int) -> str:
    """Say that a vbucket has another uuid than was asked for; if all are scanned, one of them must have it."""
    if vbucket == ALL_VBUCKETS:
        return (
            ""
            if bucket.has_vbucket_uuid(wanted)
            else f"no vbucket has the uuid {wanted}; that of vbucket 0 is {bucket.vbucket_uuid(0)}"
        )
    uuid_here = bucket.vbucket_uuid(vbucket)
    return "" if uuid_here == wanted else f"this vbucket's uuid is {uuid_here}"


async def _create(answer: Answer, wanted: ScanRequest) -> None:
    service = answer.service
    answer.key = wanted.name
    try:
        service.scans.reserve(answer.connection)
    except TooManyScansError as exc:
        await answer.error(Status.TEMPORARY_FAILURE, str(exc))
        return
    scan: RangeScan | None = None
    status, reason = Status.OK, ""
    try:
        if wanted.requirements is not None and not await _wait_seqno(answer, wanted.requirements):
            status, reason = Status.TEMPORARY_FAILURE, f"sequence number {wanted.requirements.seqno} is not reached"
        else:
            scan, status = await answer.in_worker(lambda: _open_in_thread(answer, wanted))
    except EngineError as exc:
        status, reason = Status.TEMPORARY_FAILURE, str(exc)
    finally:
        service.scans.settle(answer.connection, scan)
    if scan is None:
        await answer.error(status, reason)
    else:
        await answer.reply(answer.encode(value=scan.id))


async def _wait_seqno(answer: Answer, requirements: SnapshotRequirements) -> bool:
    """Wait until a sequence number is reached, for as long as the client says, and no longer than a scan may live."""
    service, engine = answer.service, answer.bucket.engine
    with trio.move_on_after(min(requirements.timeout, service.settings.max_scan_life)):
        while engine.seqno < requirements.seqno:  # noqa: ASYNC110 - the writer thread gets there
            await trio.sleep(POLL)
    return engine.seqno >= requirements.seqno


def _open_in_thread(answer: Answer, wanted: ScanRequest) -> tuple[RangeScan | None, Status]:
    """Open a scan; None, and the status to reply, if there is nothing to scan."""
    scan = RangeScan(answer.connection, wanted, answer.bucket, answer.request.vbucket)
    status = Status.INTERNAL
    try:
        requirements = wanted.requirements
        if requirements is not None and requirements.seqno_exists and not scan.has_seqno_in_thread(requirements.seqno):
            status = Status.NOT_STORED
        else:
            status = Status.NOT_FOUND if scan.is_empty_in_thread() else Status.OK
    finally:
        if status != Status.OK:
            scan.cancel()
    return (scan if status == Status.OK else None), status


def continue_scan(exchange: Exchange, request: Request) -> None:
    """Extras: the scan, most items u32, milliseconds u32, most bytes u32; 0 is no limit.

    Reply: any number of frames with status OK, and one that says how it ended. See `RangeScan.continue_`.
    """
    identity, items, milliseconds, size = CONTINUE.unpack(request.extras)
    exchange.later(lambda answer: _continue(answer, identity, items, milliseconds / 1000, size))


async def _continue(answer: Answer, identity: bytes, items: int, seconds: float, size: int) -> None:
    scans = answer.service.scans
    scan = scans.find(identity, answer.bucket)
    if scan is None:
        await answer.error(Status.NOT_FOUND, f"there is no scan {uuid.UUID(bytes=identity)}: it ended, or it never was")
        return
    answer.key = scan.request.name or str(uuid.UUID(bytes=identity))
    try:
        continuation = scan.continue_(answer.request.opaque, items, seconds, size)
    except ScanBusyError:
        await answer.error(Status.BUSY, "another continue of this scan is running")
        return
    try:
        # A small answer is one frame, which costs less to fetch than to stream.
        first = await answer.in_worker(continuation.next_frame_in_thread)
        if continuation.final is None:
            await answer.spool(continuation.frames_in_thread(first))
        assert continuation.final is not None
        scan.end_continue()
        await answer.reply(continuation.final)
    except BaseException:
        # What was read and not sent is lost, and the client can't know where it would go on.
        scans.end(scan)
        raise
    scans.forget_ended(scan)


def cancel_scan(exchange: Exchange, request: Request) -> None:
    """Extras: the scan. A continue of it that is running ends with a status that says so."""
    scan = exchange.service.scans.find(request.extras, exchange.bucket)
    if scan is None:
        exchange.error(request, Status.NOT_FOUND, f"there is no scan {uuid.UUID(bytes=request.extras)}: it ended, or it never was")
        return
    exchange.service.scans.end(scan)
    exchange.answer(request)


def get_keys(exchange: Exchange, request: Request) -> None:
    """Key: the first, or none. Extras: how many, u32. Reply: for each key, in order, its length u16 and itself.

    There may be fewer than were asked for, since a reply's value is no longer than any other: go on behind the last one.
    """
    count = int.from_bytes(request.extras, "big") if request.extras else DEFAULT_KEYS
    exchange.later(lambda answer: _get_keys(answer, count))


async def _get_keys(answer: Answer, count: int) -> None:
    bucket, request = answer.bucket, answer.request
    most = answer.service.settings.max_item_size
    skip = 0 if answer.session.collections else 1
    value = await answer.in_worker(lambda: _pack_keys_in_thread(bucket.engine, request.key, count, most, skip))
    await answer.reply(answer.encode(value=value))


def _pack_keys_in_thread(engine: Engine, start: bytes, count: int, most_bytes: int, skip: int) -> bytes:
    value = bytearray()
    for key in islice(keys_from_in_thread(engine, start), count):
        value += _KEY_LENGTH.pack(len(key) - skip) + key[skip:]
        if len(value) >= most_bytes:
            break
    return bytes(value)
