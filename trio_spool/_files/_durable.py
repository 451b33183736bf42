"""Files that are on disk when a function returns, whole or not at all.

POSIX promises less than one expects: `rename` replaces a file in one step, but neither the bytes of the new file nor its name are
on disk before the file and its directory are synced, in this order. On macOS, `os.fsync` hands the bytes to the drive, which may
still keep them in its cache.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def sync_file(file: IO[Any]) -> None:
    """Force what was written to an open file to the disk.

    Raises:
        OSError: It could not be written. What is on disk is then unknown: write the file anew.
    """
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Force to the disk which files a directory has: those made in it, renamed in it, and removed from it.

    Raises:
        OSError: The directory can't be opened, or can't be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> bool:
    """Make a directory and those above it that are missing, so that a crash of the machine does not take them away again.

    Args:
        path: The directory. If it is there already, nothing is done.

    Returns:
        Whether it was made.

    Raises:
        FileExistsError: Something that is no directory has the name.
        OSError: A directory can't be made, or can't be synced.
    """
    try:
        path.mkdir()
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_directories(path.parent)
        path.mkdir(exist_ok=True)
    except OSError:
        if not path.is_dir():
            raise
        return False
    sync_parent(path)
    return True


def sync_parent(path: Path) -> None:
    """Force the name of a file or a directory to the disk.

    A directory that may be written to and not be read can't be opened for a sync. Then everything is synced.

    Raises:
        OSError: The directory above it can't be synced.
    """
    try:
        sync_directory(path.resolve().parent)
    except PermissionError:
        os.sync()


def replace_durably(source: Path, target: Path) -> None:
    """Rename a file that has been synced, replacing another, so that a crash leaves one of them under the name.

    Args:
        source: In the same file system as the target.
        target: The new name.

    Raises:
        OSError: It can't be renamed, or the directory of the target can't be synced.
    """
    os.replace(source, target)
    sync_directory(target.parent)


@contextmanager
def open_replacement(target: Path, *, partial: Path | None = None, mode: int = 0o666, buffering: int = -1) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another, durably, once the block has ended without an error.

    Until then, and after an error, `target` is what it was before. If it is a symbolic link, it stays one, and what it leads to is
    replaced.

    Args:
        target: The path; nothing needs to be there.
        partial: Where to write meanwhile: in the same directory, and overwritten if it is there. By default, under a name that
            nobody else uses. A process that is killed leaves it behind.
        mode: The permissions of the file, without those that the umask takes away.
        buffering: As for `open`: with 0, a `write` may write less than it is given, as its result says.

    Yields:
        The new file, opened for writing bytes.

    Raises:
        OSError: The file can't be written, or can't be renamed.
    """
    target = Path(os.path.realpath(target))
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    if partial is None:
        partial = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
        flags |= os.O_EXCL
    descriptor = os.open(partial, flags, mode)
    try:
        with open(descriptor, "wb", buffering) as file:
            yield file
            sync_file(file)
        replace_durably(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
