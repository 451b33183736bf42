"""The error of a request that breaks the protocol."""

from __future__ import annotations


class ProtocolError(Exception):
    """The base of this package's errors."""


class RemoteProtocolError(ProtocolError):
    """The client broke the protocol. The message is the line to reply with, without its end."""

    @property
    def line(self) -> bytes:
        """The line to reply with, without its end."""
        return str(self).encode()
