"""What can go wrong with storage, for the code that uses it."""

from __future__ import annotations


class EngineError(Exception):
    """The base of this package's errors."""


class EngineClosedError(EngineError):
    """The engine has been closed."""


class DataDirectoryError(EngineError):
    """The data directory can't be used. The message says which, why, and what to do."""


class TooManySnapshotsError(EngineError):
    """As many snapshots are open as the engine allows."""


class SnapshotEndedError(EngineError):
    """The snapshot was closed, or it reached the end of its life, while it was being read."""


class CopyError(EngineError):
    """A copy could not be made."""


class NoFilesError(CopyError):
    """The engine keeps nothing in files that could be copied."""
