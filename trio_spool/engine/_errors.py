"""The errors of storage: one base, and a family for each occasion."""

from __future__ import annotations


class EngineError(Exception):
    """The base of the errors that an engine raises."""


class EngineClosedError(EngineError):
    """The engine has been closed."""

    def __init__(self, message: str = "the engine is closed") -> None:
        super().__init__(message)


class EngineFailedError(EngineError):
    """The engine has failed for good: it writes nothing more, and has to be opened again. The message says why."""

    def again(self) -> EngineFailedError:
        """Return another error that says the same, for whoever asks later: raising one error twice would mix up tracebacks."""
        another = type(self)(*self.args)
        another.__cause__ = self.__cause__
        return another


# While an engine is opened


class DataDirectoryError(EngineError):
    """The data directory can't be used. The message names it, and says why and what to do."""


class DirectoryInUseError(DataDirectoryError):
    """Another engine uses the data directory, in this process or in another one."""


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


class DeviceError(NoSpaceError):
    """The disk reported that it can't read or write.

    That counts as a lack of room, since a thin-provisioned disk says this when its pool is full, but only for a while.
    """


class RefusedError(StorageError):
    """The system refused to read or write, as it does where a disk was mounted read-only after an error, or is gone."""


class LostStoreError(StorageError):
    """The store can't be relied on any more: nothing more may be written to it.

    Attributes:
        undone: Whether it is certain that nothing of the transaction that met this is in the store.
    """

    def __init__(self, message: str, *, undone: bool = False) -> None:
        super().__init__(message)
        self.undone = undone


class DamagedError(StorageError):
    """What is stored is not what was written: the request that needs it can't be answered."""


# While a store is copied


class CopyError(EngineError):
    """The store can't be copied, or the copy can't be read."""


class NoFilesError(CopyError):
    """The engine has no files that could be copied."""
