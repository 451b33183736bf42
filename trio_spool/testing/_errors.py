"""What can go wrong with a server for tests itself."""

from __future__ import annotations


class ServerDiedError(RuntimeError):
    """The process in which a server for tests runs has ended while the server was in use. The message says how, and has its log."""
