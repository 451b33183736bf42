"""Range scans: creating and finding them. `Scans.continuing` continues one."""

from __future__ import annotations

import uuid

import attrs

from ...engine import EngineClosedError, EngineFailedError, NoSpaceError, SnapshotError
from ..data import Bucket
from ..shared import RangeScan, ScanCancelledError, ScanQuery, Shared
from .errors import NoCollectionError, NotFoundError, NotStoredError, UnavailableError, WrongHistoryError
from .workers import InWorker


@attrs.frozen(kw_only=True)
class Requirements:
    """What the snapshot of a scan must be like.

    Attributes:
        vbucket_uuid: The uuid that the vbucket must have.
        seqno: The sequence number that the snapshot must reach.
        seqno_exists: Whether a document must still have exactly that number.
        timeout: Seconds to wait until the number is reached.
    """

    vbucket_uuid: int
    seqno: int
    seqno_exists: bool = False
    timeout: float = 0.0


def check(bucket: Bucket, vbucket: int | None, query: ScanQuery, requirements: Requirements | None) -> None:
    """Check what can be known before a scan is created.

    Args:
        bucket: The bucket.
        vbucket: The vbucket, which exists; None for all of them.
        query: What to return.
        requirements: What the snapshot must be like.

    Raises:
        NoCollectionError: There is no such collection.
        WrongHistoryError: The vbucket has another uuid than is required; if all are scanned, none of them has it.
    """
    if bucket.collection(query.collection) is None:
        raise NoCollectionError(f"no collection has the id 0x{query.collection:x}")
    if requirements is None:
        return
    wanted = requirements.vbucket_uuid
    if vbucket is None:
        if not bucket.has_vbucket_uuid(wanted):
            raise WrongHistoryError(f"no vbucket has the uuid {wanted}; vbucket 0 has {bucket.vbucket_uuid(0)}")
    elif bucket.vbucket_uuid(vbucket) != wanted:
        raise WrongHistoryError(f"vbucket {vbucket} has the uuid {bucket.vbucket_uuid(vbucket)}, not {wanted}")


async def create(
    shared: Shared,
    owner: int,
    bucket: Bucket,
    vbucket: int | None,
    query: ScanQuery,
    requirements: Requirements | None,
    in_worker: InWorker,
    user: str = "",
) -> RangeScan:
    """Create a scan.

    Args:
        shared: What all connections share.
        owner: The number of the connection.
        bucket: As for `check`, as are the next three.
        vbucket: The vbucket, or None.
        query: What to return.
        requirements: What the snapshot must be like.
        in_worker: Runs a function in a worker thread.
        user: The name of the user, or nothing.

    Raises:
        TooManyScansError: The limit of open scans is reached.
        NotFoundError: The range is empty.
        NotStoredError: No document has the sequence number that is required.
        UnavailableError: The required sequence number was not reached, or the engine has no snapshot left.

    If cancelled, no scan is left open.
    """
    if requirements is not None:
        await _wait_seqno(shared, owner, bucket, query, requirements)
    if shared.scans.closing:
        raise UnavailableError("the service ends")
    with shared.scans.place(owner, bucket, user) as opened:
        try:
            scan = await in_worker(
                lambda: _open_in_thread(RangeScan(owner, query, bucket, vbucket, shared.scans.clock), requirements)
            )
        except (SnapshotError, EngineClosedError, EngineFailedError, NoSpaceError) as exc:
            raise UnavailableError(str(exc)) from exc
        opened(scan)
    return scan


async def _wait_seqno(shared: Shared, owner: int, bucket: Bucket, query: ScanQuery, requirements: Requirements) -> None:
    """Wait until the sequence number is reached, for as long as the client says, and no longer than a scan may live.

    The scan has no place yet: whoever waits for a number that never comes must not keep others from scanning.
    """
    seqno, timeout = requirements.seqno, min(requirements.timeout, shared.settings.max_scan_life)
    if not await shared.waits.wait(bucket, seqno, owner=owner, name=query.name, timeout=timeout):
        raise UnavailableError(f"the sequence number {seqno} is not reached: the last one is {bucket.engine.seqno}")


def _open_in_thread(scan: RangeScan, requirements: Requirements | None) -> RangeScan:
    try:
        if requirements is not None and requirements.seqno_exists and not scan.has_seqno_in_thread(requirements.seqno):
            raise NotStoredError(f"no document has the sequence number {requirements.seqno}")
        if scan.is_empty_in_thread():
            raise NotFoundError("the range is empty")
    except BaseException:
        scan.discard_in_thread()
        raise
    return scan


def find(shared: Shared, bucket: Bucket, identity: bytes) -> RangeScan:
    """Return an open scan of a bucket.

    Raises:
        NotFoundError: There is no such scan.
        NoCollectionError: Its collection has been dropped, and the scan has ended.
        ScanCancelledError: The service ends, and so has the scan.
    """
    scan = shared.scans.find(identity, bucket)
    if scan is None:
        if shared.scans.closing:
            raise ScanCancelledError("the service ends")
        raise NotFoundError(f"no scan {uuid.UUID(bytes=identity)} is open: it has ended, or it never existed")
    if scan.is_dropped:
        shared.scans.end(scan)
        raise NoCollectionError(f"the collection 0x{scan.query.collection:x} has been dropped")
    return scan
