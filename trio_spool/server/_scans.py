"""The range scans that are open.

A scan is open from its create until its end is reached, it is cancelled, its life is over, its connection is gone, or a continue of
it is cut off. It reads one snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._range_scan import RangeScan

if TYPE_CHECKING:
    from ._buckets import Bucket


class TooManyScansError(Exception):
    """As many scans are open as may be."""


class Scans:
    """The scans that are open, or being created.

    Args:
        most: How many there may be.
        most_of_one: How many of one connection.
        life: Seconds after which one is ended.
    """

    def __init__(self, most: int, most_of_one: int, life: float) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._life = life
        self._open: dict[bytes, RangeScan] = {}
        self._creating: list[int] = []  # owners
        self.created = 0
        self.expired = 0

    def __iter__(self) -> Iterator[RangeScan]:
        return iter(list(self._open.values()))

    def reserve(self, owner: int) -> None:
        """Keep a place for a scan that is about to be created: `settle` it.

        Raises:
            TooManyScansError: There is none.
        """
        self._forget_ended()
        if len(self._open) + len(self._creating) >= self._most:
            raise TooManyScansError(f"{self._most} scans are open, as many as may be")
        owned = sum(scan.owner == owner for scan in self._open.values()) + self._creating.count(owner)
        if owned >= self._most_of_one:
            raise TooManyScansError(f"{owned} scans of this connection are open, as many as may be")
        self._creating.append(owner)

    def settle(self, owner: int, scan: RangeScan | None) -> None:
        """Open a scan in the place that was kept for it, or give the place back."""
        self._creating.remove(owner)
        if scan is not None:
            self._open[scan.id] = scan
            self.created += 1

    def find(self, identity: bytes, bucket: Bucket) -> RangeScan | None:
        """Return an open scan of a bucket: to those who work on another one it does not exist, whoever they are."""
        scan = self._open.get(identity)
        return scan if scan is not None and scan.bucket is bucket and (scan.running or not scan.ended) else None

    def end(self, scan: RangeScan) -> None:
        """Close a scan."""
        self._open.pop(scan.id, None)
        scan.cancel()

    def end_of(self, owner: int) -> None:
        """Close those of a connection that is gone."""
        for scan in self:
            if scan.owner == owner:
                self.end(scan)

    def end_old(self) -> None:
        """Close those that have lived for too long, and forget those that ended by themselves."""
        self._forget_ended()
        oldest = time.monotonic() - self._life
        for scan in self:
            if scan.began <= oldest:
                self.expired += 1
                self.end(scan)

    def end_all(self) -> None:
        """Close all."""
        for scan in self:
            self.end(scan)

    def forget_ended(self, scan: RangeScan) -> None:
        """Close a scan if it has ended by itself."""
        if scan.ended and not scan.running:
            self.end(scan)

    def _forget_ended(self) -> None:
        for scan in self:
            self.forget_ended(scan)
