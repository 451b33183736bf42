"""The lines that say what went wrong: in storage, and in commands."""

from __future__ import annotations

from typing import Final

from ....auth import Role
from ....engine import EngineError, NoSpaceError, Problem
from ....mctext import NOT_FOUND, RemoteProtocolError, encode_error, encode_line
from ...commands import errors
from ...settings import ServiceError
from ...statistics import NoGroupError, NotForUserError

SERVER: Final = "SERVER_ERROR"
CLIENT: Final = "CLIENT_ERROR"
NOT_NUMERIC: Final = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
TOO_LARGE: Final = b"SERVER_ERROR object too large for cache\r\n"
INTERNAL: Final = b"SERVER_ERROR internal error, see the service's log\r\n"
NO_MEMORY: Final = b"SERVER_ERROR out of memory storing object\r\n"
_BUSY: Final = b"SERVER_ERROR temporary failure, try again\r\n"
LOCKED: Final = b"SERVER_ERROR the item is locked\r\n"

# The problems that are no answer of a command, but mean that it was not carried out.
LINE_OF: Final[dict[Problem, bytes]] = {
    Problem.NOT_FOUND: NOT_FOUND,
    Problem.NOT_A_NUMBER: NOT_NUMERIC,
    Problem.TOO_BIG: TOO_LARGE,
    Problem.LOCKED: LOCKED,
    Problem.NO_SPACE: NO_MEMORY,
    Problem.FULL: NO_MEMORY,
    Problem.UNPLANNED: _BUSY,
    Problem.CHANGED: _BUSY,
}

# What statistics call the problems: the names of the binary protocol's statuses, so that those of both add up.
_STATUS_OF: Final[dict[Problem, str]] = {
    Problem.NOT_FOUND: "not_found",
    Problem.EXISTS: "exists",
    Problem.NOT_STORED: "not_stored",
    Problem.NOT_A_NUMBER: "not_a_number",
    Problem.TOO_BIG: "too_big",
    Problem.LOCKED: "locked",
    Problem.NO_SPACE: "temporary_failure",
    Problem.FULL: "no_memory",
    Problem.UNPLANNED: "temporary_failure",
    Problem.CHANGED: "temporary_failure",
}
_STATUS_OF_ERROR: Final[dict[type[Exception], str]] = {
    RemoteProtocolError: "invalid",
    errors.InvalidRequestError: "invalid",
    errors.NoAccessError: "no_access",
    NotForUserError: "no_access",
    errors.LoginRefusedError: "auth_error",
    errors.UnavailableError: "temporary_failure",
    NoGroupError: "not_found",
}


def status_of_problem(problem: Problem) -> str:
    """Return what statistics call the end of an operation that was not carried out."""
    return _STATUS_OF.get(problem, "internal")


def status_of_error(error: Exception) -> str:
    """Return what statistics call the end of a command that raised an error."""
    if isinstance(error, EngineError):
        return "temporary_failure" if isinstance(error, NoSpaceError) else "internal"
    return next((status for kind, status in _STATUS_OF_ERROR.items() if isinstance(error, kind)), "internal")


def line_of_problem(problem: Problem) -> bytes:
    """Return the line for an operation that was not carried out."""
    return LINE_OF.get(problem, INTERNAL)


def line_of_failure(error: EngineError) -> bytes:
    """Return the line for a store that could not answer."""
    return NO_MEMORY if isinstance(error, NoSpaceError) else INTERNAL


def line_of_error(error: ServiceError | RemoteProtocolError) -> bytes:
    """Return the line that an error of a command stands for."""
    if isinstance(error, RemoteProtocolError):
        return encode_line(error.line)
    if isinstance(error, NoGroupError):
        return b"ERROR\r\n"
    client = isinstance(error, (errors.InvalidRequestError, errors.NoAccessError, errors.LoginRefusedError, NotForUserError))
    return encode_error(CLIENT if client else SERVER, str(error))


def no_access(user: str, roles: tuple[Role, ...]) -> bytes:
    """Return the line for a user who may not do this."""
    needed = f"lacks the role {' and '.join(role.value for role in roles)} here" if roles else "may not use this command"
    return encode_error(CLIENT, f"the user {user!r} {needed}")
