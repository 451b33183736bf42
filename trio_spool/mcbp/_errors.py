"""Errors: the peer's, and our own."""

from __future__ import annotations


class ProtocolError(Exception):
    """The base of both."""


class LocalProtocolError(ProtocolError):
    """We were asked to encode what the protocol can't carry: a mistake of the calling code."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what can't be understood. The connection can't go on.

    Attributes:
        status_hint: The status to reply with before closing, or None to close without a word.
    """

    def __init__(self, message: str, *, status_hint: int | None = None) -> None:
        super().__init__(message)
        self.status_hint = status_hint
