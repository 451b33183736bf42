"""The errors of storage: one base, and a family for each occasion."""

from __future__ import annotations


class EngineError(Exception):
    """The base of the errors that an engine raises."""


class EngineClosedError(EngineError):
    """The engine has been closed."""

    def __init__(self, message: str = "the engine is closed") -> None:
        super().__init__(message)


# While an engine is opened


class DataDirectoryError(EngineError):
    """The data directory can't be used. The message names it, and says why and what to do."""


class UnfinishedDirectoryError(DataDirectoryError):
    """The data directory was never used: making its store was interrupted."""


# While a snapshot is opened or read


class SnapshotError(EngineError):
    """The base of the errors about snapshots."""


class TooManySnapshotsError(SnapshotError):
    """The maximum number of snapshots is open."""


class SnapshotEndedError(SnapshotError):
    """The snapshot was closed, or reached the end of its life, while it was being read."""

    def __init__(self, message: str = "the snapshot was closed, or reached the end of its life, while it was being read") -> None:
        super().__init__(message)


# While the store is read or written


class StorageError(EngineError):
    """The store below the engine failed. Its own error is the cause."""


class NoSpaceError(StorageError):
    """There was no room: on the disk, in the quota, or in memory. It may work again later."""


# While a store is copied


class CopyError(EngineError):
    """The store can't be copied, or the copy can't be read."""


class NoFilesError(CopyError):
    """The engine has no files that could be copied."""
