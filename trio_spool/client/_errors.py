"""The errors of a client: of its connection, of the server's answers, and of backups."""

from __future__ import annotations

import json
from typing import Final

from .._formats import visible
from ..mcbp import Response, Status, opcode_name, status_text


class ClientError(Exception):
    """The base of this package's errors."""


# Of the connection


class ConnectionLostError(ClientError):
    """The server could not be reached, is not trusted, closed the connection, or does not speak this protocol."""


class UnreachableError(ConnectionLostError):
    """Nobody can be connected to at the address of the server, or the host is unknown."""


class CertificateError(ConnectionLostError):
    """The certificate of the server is not trusted.

    Attributes:
        wrong_host: Whether it is for another host.
    """

    def __init__(self, message: str, *, wrong_host: bool = False) -> None:
        super().__init__(message)
        self.wrong_host = wrong_host


class EncryptionError(ConnectionLostError):
    """The server uses TLS and this client does not, or the other way round, as far as can be told."""


class AnswerTimeoutError(ConnectionLostError):
    """The server was silent for too long while a response was due. The connection was given up."""


class ChecksumError(ClientError):
    """A fragment of a file did not arrive as it was sent: its checksum is wrong."""


# Of backups


class BackupError(ClientError):
    """The backup can't be made or used. The message says which backup, why, and what to do."""


# Answers of the server


class ServerError(ClientError):
    """The server answered with an error.

    Attributes:
        status: The status of the response.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# Answers about a document


class NotFoundError(ServerError):
    """The server has no such key, bucket, snapshot or group of statistics."""


class ExistsError(ServerError):
    """The key exists already, or its CAS differs from the one given."""


class NotStoredError(ServerError):
    """There was no value to append or prepend to, or the result would be too big."""


class TooBigError(ServerError):
    """The value is larger than the server allows."""


class NotANumberError(ServerError):
    """The stored value is not a number."""


class LockedError(ServerError):
    """The document is locked. Servers say so only to clients that have negotiated XERROR."""


# Answers about the state of the server: the same request may succeed later


class TemporaryFailureError(ServerError):
    """The server can't do it now, for example because its disk is full."""


class BusyError(ServerError):
    """Another request is doing the same at the moment."""


# Answers about who may do what, and where


class AuthenticationError(ServerError):
    """The login was refused, a login is required, or the server could not prove that it knows the password."""


class AccessError(ServerError):
    """The user may not do this, or the bucket does not exist: the server does not tell these two apart."""


class NoBucketError(ServerError):
    """No bucket is selected, and the user may not use the default one."""


class UnknownCollectionError(ServerError):
    """The bucket has no such collection, or no such scope."""


# Answers about a scan


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


# The number of bytes of an error response that are looked at, and the number of characters that a message shows of them. Picked:
# servers say less, and what a hostile one says should neither fill the screen nor take long to decode.
_READ: Final = 16 * 1024
_SHOWN: Final = 1000


def error_of(response: Response) -> ServerError:
    """Return the exception for an error response. Its message shows what the server says on one line, without escape sequences."""
    kind = _ERRORS.get(response.status, ServerError)
    text = visible(_context(response.value[:_READ]), _SHOWN) or status_text(response.status).decode()
    return kind(f"{opcode_name(response.opcode)}: {text} (status 0x{response.status:02x})", response.status)


def _context(value: bytes) -> str:
    """Return the explanation in the value of an error response, which is text, or JSON if XERROR was negotiated."""
    text = value.decode("utf-8", "replace")
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text)["error"]["context"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
