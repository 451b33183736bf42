"""The statuses of what goes wrong: in storage, and in commands."""

from __future__ import annotations

from typing import Final

from ....engine import EngineError, NoSpaceError, Problem
from ....mcbp import RemoteProtocolError, Status
from ...commands import errors
from ...data import BucketError, BucketExistsError, ManifestChangeError, ManifestError, NoBucketError, StillRemovingError
from ...settings import ServiceError
from ...shared import ScanBusyError, ScanCancelledError, ScanEndedError, TooManyFileSnapshotsError, TooManyScansError
from ...statistics import NoGroupError, NotForUserError

STATUS_OF: Final[dict[Problem, Status]] = {
    Problem.NOT_FOUND: Status.NOT_FOUND,
    Problem.EXISTS: Status.EXISTS,
    Problem.NOT_STORED: Status.NOT_STORED,
    Problem.NOT_A_NUMBER: Status.NOT_A_NUMBER,
    Problem.TOO_BIG: Status.TOO_BIG,
    Problem.LOCKED: Status.LOCKED,
    Problem.NOT_LOCKED: Status.NOT_LOCKED,
    Problem.NO_SPACE: Status.TEMPORARY_FAILURE,
    Problem.FULL: Status.NO_MEMORY,
    Problem.DAMAGED: Status.INTERNAL,
    Problem.FAILED: Status.INTERNAL,
    Problem.UNKNOWN: Status.INTERNAL,  # for completeness: nobody gets it, since the connection ends
    Problem.UNPLANNED: Status.TEMPORARY_FAILURE,  # another client made the item large at this very moment
    Problem.CHANGED: Status.TEMPORARY_FAILURE,
    Problem.ALIVE: Status.SUBDOC_CAN_ONLY_REVIVE_DELETED,
    Problem.HAS_VALUE: Status.SUBDOC_DELETED_CANT_HAVE_VALUE,
}

# An error that is not listed has the status of its nearest base class that is.
_STATUS_OF_ERROR: Final[dict[type[BaseException], Status]] = {
    ServiceError: Status.INTERNAL,
    errors.InvalidRequestError: Status.INVALID,
    errors.NotFoundError: Status.NOT_FOUND,
    errors.NoScopeError: Status.UNKNOWN_SCOPE,
    errors.NoCollectionError: Status.UNKNOWN_COLLECTION,
    errors.ExistsError: Status.EXISTS,
    errors.NotStoredError: Status.NOT_STORED,
    errors.NoAccessError: Status.NO_ACCESS,
    errors.LoginRefusedError: Status.AUTH_ERROR,
    errors.NotSupportedError: Status.NOT_SUPPORTED,
    errors.UnavailableError: Status.TEMPORARY_FAILURE,
    errors.WrongHistoryError: Status.VBUCKET_UUID_DIFFERS,
    # Not BUSY, which Couchbase's SDKs answer by asking again in a hot loop.
    TooManyScansError: Status.TEMPORARY_FAILURE,
    ScanBusyError: Status.BUSY,
    ScanEndedError: Status.NOT_FOUND,
    ScanCancelledError: Status.SCAN_CANCELLED,
    TooManyFileSnapshotsError: Status.TEMPORARY_FAILURE,
    BucketError: Status.INVALID,
    BucketExistsError: Status.EXISTS,
    NoBucketError: Status.NOT_FOUND,
    ManifestError: Status.INVALID,
    ManifestChangeError: Status.RANGE_ERROR,
    StillRemovingError: Status.TEMPORARY_FAILURE,
    NoGroupError: Status.NOT_FOUND,
    NotForUserError: Status.NO_ACCESS,
}


def status_of_failure(error: EngineError) -> Status:
    """Return the status of a store that could not answer, which says whether it is worth another try."""
    return Status.TEMPORARY_FAILURE if isinstance(error, NoSpaceError) else Status.INTERNAL


def status_of_error(error: ServiceError | RemoteProtocolError) -> int:
    """Return the status that an error of a command stands for, or that of a value that can't be parsed."""
    if isinstance(error, RemoteProtocolError):
        return Status.INVALID if error.status_hint is None else error.status_hint
    return next(_STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _STATUS_OF_ERROR)
