"""Why a command is refused. A protocol maps each of these to a status of its own.

Scans, snapshots, buckets, manifests and statistics raise errors of their own as well; all are derived from `ServiceError`.
"""

from __future__ import annotations

from ..settings import ServiceError


class CommandError(ServiceError):
    """The base of the errors of commands."""


class InvalidRequestError(CommandError):
    """The request contradicts itself, or has a value that can't be."""


class NotFoundError(CommandError):
    """What the request names does not exist."""


class NoScopeError(NotFoundError):
    """No scope has this name."""


class NoCollectionError(NotFoundError):
    """No collection has this name or id."""


class ExistsError(CommandError):
    """What the request would make exists already."""


class NotStoredError(CommandError):
    """The item that was required is not stored."""


class NoAccessError(CommandError):
    """The user may not do this."""


class LoginRefusedError(CommandError):
    """The login was refused: the message does not say why."""


class NotSupportedError(CommandError):
    """This service, or its engine, can't do this."""


class UnavailableError(CommandError):
    """This can't be done now, but may work later."""


class WrongHistoryError(CommandError):
    """The vbucket has another history than the client knows."""
