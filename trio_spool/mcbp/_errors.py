"""The errors of encoding and decoding frames: ours, and the peer's."""

from __future__ import annotations


class ProtocolError(Exception):
    """The base of this package's errors."""


# While something is encoded


class LocalProtocolError(ProtocolError, ValueError):
    """The calling code asked to encode a value that the protocol can't carry."""


# While something is decoded


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    Attributes:
        status_hint: The status to reply with, or None to close the connection without a reply.
    """

    def __init__(self, message: str, *, status_hint: int | None = None) -> None:
        super().__init__(message)
        self.status_hint = status_hint
