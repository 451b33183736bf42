"""The open range scans.

A scan is open from its creation until its range has been read, it is cancelled, its life is over, its owner's connection is gone,
or a continue of it is cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final, NamedTuple

from ..._incidents import Incidents
from ..data import Bucket
from ..settings import LimitHits
from ._range_scan import Continue, ContinueLimits, Ending, Pack, RangeScan
from ._scan_state import ScanError, ScanEvent, ScanState
from ._shares import Shares


class TooManyScansError(ScanError):
    """The limit of open scans is reached."""


# Seconds after which a scan that was never continued gives way to another one. Picked, not measured: clients continue it at once.
PATIENCE: Final = 30.0


class _Claim(NamedTuple):
    """Who has a place: a connection, in a bucket, for a user."""

    owner: int
    bucket: str
    user: str


class Scans:
    """The scans that are open, and the places of those that are being created.

    Args:
        max_open: The maximum number of open scans.
        max_per_connection: The maximum number of open scans of one connection.
        max_life: Seconds after which a scan is ended.
        between: Seconds for which a connection whose scan has ended counts as scanning: see `is_scanning`.
        incidents: The log.
        clock: The monotonic clock.

    Attributes:
        clock: As above.
        closing: Whether the service ends, and lets no scan go on.
        created: How many scans have been created.
        expired: How many of them were ended because of their age.
        lost: How many of them were ended because the engine had ended their snapshots.
        limits: How often each limit was reached.
    """

    def __init__(
        self,
        max_open: int,
        max_per_connection: int,
        max_life: float,
        between: float,
        incidents: Incidents,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_open = max_open
        self._max_per_connection = max_per_connection
        self._max_life = max_life
        self._between = between
        self._incidents = incidents
        self.clock = clock
        self._open: dict[bytes, RangeScan] = {}
        self._claims: dict[bytes, _Claim] = {}  # of those
        self._reserved: list[_Claim] = []  # the places of scans that are being created
        self._last: dict[int, float] = {}  # when each connection last worked on a scan, by the clock
        self.shares: Shares | None = None  # what one bucket and one user may have; everything if nobody says so
        self.closing = False
        self.created = 0
        self.expired = 0
        self.lost = 0
        self.limits = LimitHits()

    def __iter__(self) -> Iterator[RangeScan]:
        return iter(list(self._open.values()))

    def change(self, max_per_connection: int) -> None:
        """Have another maximum of open scans of one connection."""
        self._max_per_connection = max_per_connection

    @contextmanager
    def place(self, owner: int, bucket: Bucket, user: str = "") -> Iterator[Callable[[RangeScan], None]]:
        """Keep a place for a scan that is created within this block; calling the yielded function opens the scan.

        Args:
            owner: The number of the connection.
            bucket: The bucket.
            user: The name of the user, or nothing.

        Raises:
            TooManyScansError: No place is free.
        """
        self._make_room()
        if len(self._open) + len(self._reserved) >= self._max_open:
            self.limits.hit("max-scans")
            raise TooManyScansError(f"the limit of {self._max_open} open scans is reached: cancel one, or raise --max-scans")
        claims = [*self._claims.values(), *self._reserved]
        if sum(claim.owner == owner for claim in claims) >= self._max_per_connection:
            self.limits.hit("max-scans-per-connection")
            raise TooManyScansError(
                f"the limit of {self._max_per_connection} open scans of one connection is reached: cancel one, or raise "
                "--max-scans-per-connection"
            )
        claim = _Claim(owner, bucket.name, user)
        self._check_shares(claim, claims)
        self._reserved.append(claim)
        self._last[owner] = self.clock()

        def opened(scan: RangeScan) -> None:
            self._open[scan.id] = scan
            self._claims[scan.id] = claim
            self.created += 1

        try:
            yield opened
        finally:
            self._reserved.remove(claim)

    def _make_room(self) -> None:
        """If no place is free, end the oldest scan that its client has created and then forgotten.

        A scan that was continued once is left alone, however long its client takes: it would miss documents, and might not notice.
        """
        if len(self._open) + len(self._reserved) < self._max_open:
            return
        created = [scan for scan in self if scan.state is ScanState.CREATED]
        oldest = min(created, key=lambda scan: scan.began, default=None)
        if oldest is not None and self.clock() - oldest.began >= PATIENCE:
            self.expired += 1
            self.end(oldest)

    def _check_shares(self, claim: _Claim, claims: list[_Claim]) -> None:
        """Refuse a scan beyond the share of its bucket or of its user.

        Raises:
            TooManyScansError: It is beyond that.
        """
        if self.shares is None:
            return
        most = self.shares.of_bucket(self._max_open)
        if sum(each.bucket == claim.bucket for each in claims) >= most:
            self.limits.hit("bucket-share")
            raise TooManyScansError(
                f"the limit of {most} open scans of one bucket is reached: cancel one, or raise --bucket-share or --max-scans"
            )
        most = self.shares.of_user(self._max_open)
        if claim.user and sum(each.user == claim.user for each in claims) >= most:
            self.limits.hit("user-share")
            raise TooManyScansError(
                f"the limit of {most} open scans of one user is reached: cancel one, or raise --user-share or --max-scans"
            )

    @property
    def reserved(self) -> int:
        """How many scans are being created."""
        return len(self._reserved)

    def find(self, identity: bytes, bucket: Bucket) -> RangeScan | None:
        """Return an open scan of a bucket, or None. To clients of another bucket it does not exist, whoever they are."""
        scan = self._open.get(identity)
        return scan if scan is not None and scan.bucket is bucket else None

    @contextmanager
    def continuing(self, scan: RangeScan, user: int, limits: ContinueLimits, pack: Pack) -> Iterator[Continue]:
        """Continue a scan within this block, which must not end normally before the last frame is queued.

        If the block raises, documents that were read may never be sent: the scan ends.

        Args:
            scan: The scan.
            user: The number of the connection that continues it.
            limits: How far it goes.
            pack: Makes the bytes of records.

        Raises:
            ScanBusyError: Another continue of this scan is running.
            ScanEndedError: The scan has ended.
        """
        scan.send(ScanEvent.CONTINUE)
        scan.continues += 1
        scan.user = user
        event = ScanEvent.CUT_OFF
        try:
            continue_ = Continue(scan, limits, pack, self._incidents)
            yield continue_
            event = ScanEvent.PAUSE if continue_.ending is Ending.MORE else ScanEvent.FINISH
        finally:
            scan.send(event)
            self._last[user] = self.clock()
            if scan.state is ScanState.ENDED:
                self._forget(scan)

    def _forget(self, scan: RangeScan) -> None:
        self._open.pop(scan.id, None)
        self._claims.pop(scan.id, None)

    def end(self, scan: RangeScan) -> None:
        """End a scan. If a continue of it is running, its client is told."""
        self._forget(scan)
        scan.send(ScanEvent.END)

    def end_of(self, owner: int) -> None:
        """End the scans of a connection that is gone."""
        self._last.pop(owner, None)
        for scan in self:
            if scan.owner == owner:
                self.end(scan)

    def end_of_bucket(self, bucket: Bucket) -> None:
        """End the scans of a bucket that is being deleted."""
        for scan in self:
            if scan.bucket is bucket:
                self.end(scan)

    def end_old(self) -> None:
        """End the scans that have lived for too long, and those whose snapshots the engine has ended: they only keep a place."""
        oldest = self.clock() - self._max_life
        for scan in self:
            if scan.began <= oldest:
                self.expired += 1
                self.limits.hit("max-scan-life")
                self.end(scan)
            elif scan.lost:
                self.lost += 1
                self.end(scan)

    def is_scanning(self, connection: int) -> bool:
        """Whether a connection has an open scan, or is between two: clients scan one vbucket after the other.

        Couchbase's SDKs take the end of a connection on which nothing runs for the end of the scan, and do not say that documents
        are missing.
        """
        if self.clock() - self._last.get(connection, -inf) < self._between:
            return True
        return any(connection in (scan.owner, scan.user) for scan in self._open.values())

    def close(self) -> None:
        """End every scan, and let none begin or go on: the service ends. Clients that continue one are told."""
        self.closing = True
        for scan in self:
            self.end(scan)
