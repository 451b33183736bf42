"""The status of everything that can go wrong, in storage and in commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trio_spool.engine import Problem
from trio_spool.mcbp import Status
from trio_spool.server.protocols.binary._problems import STATUS_OF, status_of_error
from trio_spool.server.settings import ServiceError

PROBLEMS = {
    "NOT_FOUND": Status.NOT_FOUND,
    "EXISTS": Status.EXISTS,
    "NOT_STORED": Status.NOT_STORED,
    "NOT_A_NUMBER": Status.NOT_A_NUMBER,
    "TOO_BIG": Status.TOO_BIG,
    "LOCKED": Status.LOCKED,
    "NOT_LOCKED": Status.NOT_LOCKED,
    "NO_SPACE": Status.TEMPORARY_FAILURE,
    "DAMAGED": Status.INTERNAL,
    "FAILED": Status.INTERNAL,
    "UNKNOWN": Status.INTERNAL,
    "UNPLANNED": Status.TEMPORARY_FAILURE,
    "CHANGED": Status.TEMPORARY_FAILURE,
    "ALIVE": Status.SUBDOC_CAN_ONLY_REVIVE_DELETED,
    "HAS_VALUE": Status.SUBDOC_DELETED_CANT_HAVE_VALUE,
    "FULL": Status.NO_MEMORY,
}
ERRORS = {
    "ServiceError": Status.INTERNAL,
    "SettingsError": Status.INTERNAL,
    "ListenError": Status.INTERNAL,
    "CommandError": Status.INTERNAL,
    "InvalidRequestError": Status.INVALID,
    "NotFoundError": Status.NOT_FOUND,
    "NoScopeError": Status.UNKNOWN_SCOPE,
    "NoCollectionError": Status.UNKNOWN_COLLECTION,
    "NotStoredError": Status.NOT_STORED,
    "NoAccessError": Status.NO_ACCESS,
    "LoginRefusedError": Status.AUTH_ERROR,
    "NotSupportedError": Status.NOT_SUPPORTED,
    "UnavailableError": Status.TEMPORARY_FAILURE,
    "WrongHistoryError": Status.VBUCKET_UUID_DIFFERS,
    "ScanError": Status.INTERNAL,
    "ScanBusyError": Status.BUSY,
    "ScanCancelledError": Status.SCAN_CANCELLED,
    "ScanEndedError": Status.NOT_FOUND,
    "TooManyScansError": Status.TEMPORARY_FAILURE,
    "TooManyFileSnapshotsError": Status.TEMPORARY_FAILURE,
    "BucketError": Status.INVALID,
    "BucketExistsError": Status.EXISTS,
    "NoBucketError": Status.NOT_FOUND,
    "ManifestError": Status.INVALID,
    "ManifestChangeError": Status.RANGE_ERROR,
    "StillRemovingError": Status.TEMPORARY_FAILURE,
    "StatisticsError": Status.INTERNAL,
    "NoGroupError": Status.NOT_FOUND,
    "NotForUserError": Status.NO_ACCESS,
    "ExistsError": Status.EXISTS,
    "NoKeyError": Status.NOT_FOUND,
}


def family(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield an error and all that derive from it, of this package."""
    yield base
    for kind in base.__subclasses__():
        if kind.__module__.startswith("trio_spool."):
            yield from family(kind)


@pytest.mark.parametrize(
    "problem", [problem for problem in Problem if problem is not Problem.PATH], ids=lambda problem: problem.name
)
def test_problems_of_storage(problem: Problem) -> None:
    assert STATUS_OF[problem] == PROBLEMS[problem.name]


@pytest.mark.parametrize("kind", sorted(set(family(ServiceError)), key=lambda kind: kind.__name__))
def test_errors_of_commands(kind: type[ServiceError]) -> None:
    assert status_of_error(kind("reason")) == ERRORS[kind.__name__]
