"""Data directories: whether they can be used, which engine they belong to, and which process uses them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from .._files import (
    FileLock,
    explain,
    make_directories,
    open_replacement,
    replace_durably,
    sync_directory,
    sync_file,
    sync_parent,
)
from ._errors import DataDirectoryError, DirectoryInUseError

MARKER = "trio-spool.json"
# The name of the marker until the database is there. A directory that has this one, and not the other, was never used.
NEW_MARKER = MARKER + ".new"
LOCK = "trio-spool.lock"
# The version of the layout of the database. Raise it with every change that older versions can't read.
FORMAT = 3
# The oldest version that this one can go on with. Format 2 has no checksums.
OLDEST_FORMAT = 2


def check_directory(path: Path, files: Collection[str] = ()) -> bool:
    """Make sure that a directory is there, and is either a data directory or empty. One that is missing is made.

    Args:
        path: The directory.
        files: The names of the engine's files, which an interrupted first start may have left there.

    Returns:
        Whether it is a data directory already.

    Raises:
        DataDirectoryError: It can't be used.
    """
    try:
        make_directories(path)
        names = {entry.name for entry in path.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise DataDirectoryError(f"{path} is not a directory; name one, or a path where one can be made") from None
    except OSError as exc:
        raise DataDirectoryError(f"can't use the data directory {path}: {explain(exc)}; check who owns it") from exc
    ours = {NEW_MARKER, LOCK, *files} if NEW_MARKER in names else {LOCK}
    if MARKER not in names and names - ours:
        raise DataDirectoryError(
            f"{path} is not a data directory of trio-spool: it is not empty, and has no {MARKER}; name another or an empty one"
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirectoryError(f"the data directory {path} can't be written to; change its permissions, or name another")
    return MARKER in names


def refuse_network(path: Path, find: Callable[[Path], str | None]) -> None:
    """Make sure that a directory is not on a network file system.

    A database there is mapped into memory while another machine can change the file, and locks may not reach that machine. A
    connection that breaks ends the process by a signal (SIGBUS).

    Args:
        path: The directory, which may not exist yet.
        find: Returns the type of the network file system that a path is on.

    Raises:
        DataDirectoryError: It is.
    """
    kind = find(path)
    if kind is not None:
        raise DataDirectoryError(
            f"{path} is on a network file system ({kind}), where a database is neither locked nor mapped reliably; "
            "use a local directory, or allow this one with --allow-network-storage"
        )


def claim_directory(path: Path, engine: str) -> str:
    """Make sure that a directory is there and belongs to an engine. One that is missing or empty is marked.

    Args:
        path: The directory.
        engine: The name of the engine.

    Returns:
        The UUID that the directory was given when it was made.

    Raises:
        DataDirectoryError: It can't be used.
    """
    identity, is_new = begin_directory(path, engine)
    if is_new:
        finish_directory(path)
    return identity


def begin_directory(path: Path, engine: str, files: Collection[str] = ()) -> tuple[str, bool]:
    """Do as `claim_directory` does, but leave a new directory to be marked by `finish_directory`, once its database is there.

    So a marker without a database tells that the database was lost. A first start that was interrupted is begun anew.

    Args:
        path: The directory.
        engine: The name of the engine.
        files: The names of the engine's files.

    Returns:
        The UUID, and whether the directory is new.

    Raises:
        DataDirectoryError: It can't be used.
    """
    if check_directory(path, files):
        return _read_marker(path, engine), False
    return _write_marker(path, engine), True


def finish_directory(path: Path) -> None:
    """Mark a directory that `begin_directory` has begun, as the last thing before it is used.

    Raises:
        DataDirectoryError: It can't be written to.
    """
    try:
        sync_parent(path)  # the directory may be empty and yet new: others make directories, and don't sync them
        sync_directory(path)
        replace_durably(path / NEW_MARKER, path / MARKER)
    except OSError as exc:
        raise _not_writable(path, exc) from exc


def upgrade_directory(path: Path) -> None:
    """Mark a data directory of an older format as one of this format, before anything is written that older versions can't read.

    Raises:
        DataDirectoryError: It can't be written to.
    """
    marker = path / MARKER
    try:
        content = json.loads(marker.read_text())
        if content["format"] == FORMAT:
            return
        with open_replacement(marker, partial=path / (MARKER + ".upgrade")) as file:
            file.write(_marker(content["engine"], content["uuid"]))
    except OSError as exc:
        raise _not_writable(path, exc) from exc


def _marker(engine: str, identity: str) -> bytes:
    return json.dumps({"format": FORMAT, "engine": engine, "uuid": identity}, indent=1).encode() + b"\n"


def _not_writable(path: Path, exc: OSError) -> DataDirectoryError:
    hint = "make room on the disk" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "change its permissions"
    return DataDirectoryError(f"can't write to the data directory {path}: {explain(exc)}; {hint}, or name another")


class DirectoryLock:
    """The use of a data directory by one engine of one process, until `release` or the end of the process.

    What an engine keeps beside the stored items, like the last CAS, is right only as long as nobody else writes.

    The lock file says who holds the lock. The directory itself is locked as well, since somebody may remove the file.

    Args:
        path: The directory, which exists.
        open_lock: Stands in for `FileLock`.

    Raises:
        DirectoryInUseError: It is in use already.
        DataDirectoryError: It can't be locked.
    """

    def __init__(self, path: Path, *, open_lock: Callable[[Path], FileLock] = FileLock) -> None:
        try:
            self._lock = open_lock(path / LOCK)
        except OSError as exc:
            raise DataDirectoryError(f"can't write to the data directory {path}: {explain(exc)}; check who owns it") from exc
        self._directory: int | None = None
        try:
            self._take(path)
        except BaseException:
            self.release()
            raise

    def _take(self, path: Path) -> None:
        file = self._lock.file
        try:
            self._lock.acquire(wait=False)
            self._lock_directory(path)
        except BlockingIOError:
            raise DirectoryInUseError(
                f"{path} is in use by {_holder(file.read(300))}; stop that one, or name another data directory"
            ) from None
        except OSError as exc:
            raise DataDirectoryError(f"can't lock the data directory {path}: {explain(exc)}; use a local file system") from exc
        with suppress(OSError):  # this only helps those who are refused, and the disk may be full
            file.truncate(0)
            file.write(b"%d %s\n" % (os.getpid(), os.fsencode(os.uname().nodename)))

    def _lock_directory(self, path: Path) -> None:
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # some file systems lock only what is open for writing, as no directory is
            pass

    def release(self) -> None:
        """Let others use the directory. Harmless if it was called before."""
        if self._directory is not None:
            with suppress(OSError):
                fcntl.flock(self._directory, fcntl.LOCK_UN)  # see `FileLock.release`
            os.close(self._directory)
            self._directory = None
        self._lock.release()


def _holder(content: bytes) -> str:
    """Return who holds a lock, as the lock file says."""
    process, _, host = content.decode("ascii", "replace").strip().partition(" ")
    if not process.isdecimal():
        return "another process"
    # In a container, processes have numbers of their own, and the container has a name of its own.
    return f"process {process}" if host in ("", os.uname().nodename) else f"process {process} on {host!r:.100}"


def _write_marker(path: Path, engine: str) -> str:
    identity = str(uuid.uuid4())
    try:
        with (path / NEW_MARKER).open("wb") as file:
            file.write(_marker(engine, identity))
            sync_file(file)
    except OSError as exc:
        raise _not_writable(path, exc) from exc
    return identity


def _read_marker(path: Path, engine: str) -> str:
    marker = path / MARKER
    try:
        content = json.loads(marker.read_text())
        found_format, found_engine, identity = content["format"], content["engine"], content["uuid"]
        if not (isinstance(found_format, int) and isinstance(found_engine, str) and isinstance(identity, str)):
            raise TypeError
    except OSError as exc:
        raise DataDirectoryError(f"can't read {marker}: {explain(exc)}; check who owns it") from exc
    except (ValueError, KeyError, TypeError):
        raise DataDirectoryError(
            f"{marker} is damaged: it is not what trio-spool writes; restore it, or name another directory"
        ) from None
    if found_format > FORMAT:
        raise DataDirectoryError(
            f"{path} was written by a newer version (format {found_format}; this version reads {FORMAT}); upgrade trio-spool"
        )
    if found_format < OLDEST_FORMAT:
        raise DataDirectoryError(
            f"{path} was written by an older version (format {found_format}; this version reads {OLDEST_FORMAT} and later); "
            "dump it with that version, and load the dump into a new directory"
        )
    if found_engine != engine:
        raise DataDirectoryError(
            f"{path} belongs to the engine {found_engine!r}, not {engine!r}; choose that engine, or another directory"
        )
    return identity
