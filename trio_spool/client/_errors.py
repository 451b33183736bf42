"""What can go wrong with a server."""

from __future__ import annotations

import json

from ..mcbp import Response, Status, opcode_name, status_text


class ClientError(Exception):
    """The base of what goes wrong with a server."""


class ConnectionLostError(ClientError):
    """The server could not be reached, is not trusted, went away, or does not speak this protocol."""


class ChecksumError(ClientError):
    """What arrived is not what was sent."""


class ServerError(ClientError):
    """The server answered with an error.

    Attributes:
        status: The status of the response.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ServerError):
    """There is no such key, or no such group of statistics."""


class ExistsError(ServerError):
    """The key exists, or its CAS is another one."""


class NotStoredError(ServerError):
    """There was nothing to append or prepend to, or the result would be too big."""


class TooBigError(ServerError):
    """The value is over the server's limit."""


class NotANumberError(ServerError):
    """The stored value is not a number."""


class TemporaryFailureError(ServerError):
    """The server can't do it now, for example because its disk is full."""


class BusyError(ServerError):
    """Another request does the same at this moment."""


class AuthenticationError(ServerError):
    """The login was refused, or somebody has to log in first; or the server did not prove that it knows the password."""


class AccessError(ServerError):
    """The user may not do that there, or there is no such bucket: the server does not tell these two apart."""


class NoBucketError(ServerError):
    """No bucket is selected, and the user may not use the default one."""


class UnknownCollectionError(ServerError):
    """There is no such collection, or no such scope."""


class LockedError(ServerError):
    """Somebody has locked the document. Servers say so only to clients that have negotiated XERROR."""


class ScanCancelledError(ServerError):
    """The scan was cancelled, or was open for longer than the server allows."""


_ERRORS: dict[int, type[ServerError]] = {
    Status.NOT_FOUND: NotFoundError,
    Status.EXISTS: ExistsError,
    Status.NOT_STORED: NotStoredError,
    Status.TOO_BIG: TooBigError,
    Status.NOT_A_NUMBER: NotANumberError,
    Status.TEMPORARY_FAILURE: TemporaryFailureError,
    Status.BUSY: BusyError,
    Status.AUTH_ERROR: AuthenticationError,
    Status.NO_ACCESS: AccessError,
    Status.NO_BUCKET: NoBucketError,
    Status.UNKNOWN_COLLECTION: UnknownCollectionError,
    Status.UNKNOWN_SCOPE: UnknownCollectionError,
    Status.LOCKED: LockedError,
    Status.SCAN_CANCELLED: ScanCancelledError,
}


def error_of(response: Response) -> ServerError:
    """Return the exception that stands for an error response."""
    kind = _ERRORS.get(response.status, ServerError)
    text = _context(response.value) or status_text(response.status).decode()
    return kind(f"{opcode_name(response.opcode)}: {text} (status 0x{response.status:02x})", response.status)


def _context(value: bytes) -> str:
    """Return what the value of an error says: a text, or JSON if XERROR was negotiated."""
    text = value.decode("utf-8", "replace")
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text)["error"]["context"])
    except (ValueError, KeyError, TypeError):
        return text
