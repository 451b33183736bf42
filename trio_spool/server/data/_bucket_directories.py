"""Where the buckets are on disk: which there are, making one, and removing one. Blocking code, for worker threads.

A bucket is there if its directory has its name; the name comes last and goes first. So whatever ends the process, and whenever, a
bucket is there whole or not at all, and what was refused is not there after a restart:

- A bucket is made under another name. When it is whole and on disk, it is renamed, and the new name is forced to the disk.
- A bucket that is deleted is renamed, that is forced to the disk, and only then its files are removed.
- Directories with these other names are removed at the next start.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from ..._files import explain, make_directories, sync_directory
from ...engine import DataDirectoryError, DirectoryInUseError, DirectoryLock

DEFAULT_BUCKET: Final = "default"
# The directory of all other buckets, inside the data directory, which is the default bucket's own.
BUCKETS_DIRECTORY: Final = "buckets"
# The names of directories that are no bucket, or not yet, begin with these.
NEW: Final = ".new-"
DELETED: Final = ".deleted-"
_NAME: Final = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}")


def is_bucket_name(name: str) -> bool:
    """Return whether a bucket may have this name."""
    return _NAME.fullmatch(name) is not None


def directory_of(data_dir: Path, name: str) -> Path:
    """Return the directory of a bucket."""
    return data_dir if name == DEFAULT_BUCKET else data_dir / BUCKETS_DIRECTORY / name


def bucket_names_in_thread(data_dir: Path) -> list[str]:
    """Return the names of the buckets in a data directory, without the default one, sorted.

    What should be the directory of a bucket and is none, such as a link to a disk that is not mounted, is among them: it can't be
    opened, and that must not pass in silence.

    Raises:
        DataDirectoryError: They can't be read.
    """
    directory = data_dir / BUCKETS_DIRECTORY
    try:
        names = sorted(path.name for path in directory.iterdir() if is_bucket_name(path.name))
        return [name for name in names if name != DEFAULT_BUCKET]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise DataDirectoryError(f"can't read the buckets in {directory}: {explain(exc)}; check who owns it") from exc


def remove_remains_in_thread(data_dir: Path) -> None:
    """Remove what is left of buckets whose making or deletion was interrupted. What can't be removed stays, and harms nobody."""
    with suppress(OSError):
        for path in sorted((data_dir / BUCKETS_DIRECTORY).iterdir()):
            if path.name.startswith((NEW, DELETED)):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a directory, or what a link to one leads to. What can't be removed stays."""
    shutil.rmtree(path.resolve(), ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def make_bucket_in_thread(data_dir: Path, name: str, fill: Callable[[Path], object]) -> None:
    """Make the directory of a bucket. If this fails, it is not there.

    Args:
        data_dir: The data directory.
        name: The name of the bucket.
        fill: Makes a directory with a store, which is on disk when this returns.

    Raises:
        DataDirectoryError: It can't be made.
        EngineError: What `fill` raises.
    """
    target = directory_of(data_dir, name)
    new = target.with_name(NEW + uuid4().hex)
    try:
        make_directories(target.parent)
        fill(new)
        sync_directory(new)
        new.rename(target)  # replaces nothing but an empty directory
        try:
            sync_directory(target.parent)
        except BaseException:
            target.rename(new)
            raise
    except OSError as exc:
        shutil.rmtree(new, ignore_errors=True)
        raise DataDirectoryError(f"can't make the bucket {name}, {target}: {explain(exc)}; correct this, and try again") from exc
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def remove_broken_in_thread(data_dir: Path, name: str) -> None:
    """Remove the directory of a bucket that did not open, unless another process uses it. If this fails, it is still there.

    Raises:
        DataDirectoryError: It is in use, or can't be removed.
    """
    with ExitStack() as stack:
        try:
            stack.callback(DirectoryLock(directory_of(data_dir, name)).release)
        except DirectoryInUseError:
            raise
        except DataDirectoryError:
            pass  # that it can't be locked may be what is wrong with it
        remove_bucket_in_thread(data_dir, name)


def remove_bucket_in_thread(data_dir: Path, name: str) -> None:
    """Remove the directory of a bucket that nobody uses any more. If this fails, it is still there.

    Raises:
        DataDirectoryError: It can't be removed.
    """
    directory = directory_of(data_dir, name)
    doomed = directory.with_name(DELETED + uuid4().hex)
    try:
        directory.rename(doomed)
        try:
            sync_directory(doomed.parent)
        except BaseException:
            doomed.rename(directory)
            raise
    except FileNotFoundError:
        return  # somebody else has removed it
    except OSError as exc:
        raise DataDirectoryError(
            f"can't delete the bucket {name}, {directory}: {explain(exc)}; correct this, and try again"
        ) from exc
    _remove(doomed)
