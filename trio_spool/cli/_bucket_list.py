"""The list of the buckets of a backup.

A backup of all buckets is laid out like a data directory, so that it can be served as it is: the default bucket in the directory
itself, and each other one in ``buckets/NAME``. Every one has a manifest of its own. ``buckets.json`` says which there are, and what
was left out; a backup of the default bucket alone has no such file. The manifest of the default bucket is written last, and makes
the whole complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from .._files import explain, make_directories, open_replacement, read_bounded
from .._formats import BACKUP_BUCKETS, BACKUP_LIST
from ._errors import FileError

# Bytes. Picked: thousands of buckets with the longest names.
_MAX_LIST: Final = 1024 * 1024
# As a server takes names; no name is a path.
_NAME: Final = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}")


@attrs.frozen
class BucketList:
    """What buckets a backup has, beside the default one.

    Attributes:
        uuids: Their names, and the UUID of each on the server, by which a backup that goes on knows that it is still the same one.
        left_out: What the backup lacks, a sentence for each.
    """

    uuids: Mapping[str, str] = attrs.Factory(dict)
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names."""
        return tuple(sorted(self.uuids))


def bucket_directory(directory: Path, name: str) -> Path:
    """Return the directory of a bucket, other than the default one, in a backup or a data directory."""
    return directory / BACKUP_BUCKETS / name


def write_bucket_list(directory: Path, listed: BucketList) -> None:
    """Write the list, unless it says no more than that there is the default bucket.

    Raises:
        FileError: It can't be written.
    """
    path = directory / BACKUP_LIST
    try:
        if listed == BucketList():
            path.unlink(missing_ok=True)
            return
        make_directories(directory)
        content = json.dumps({"buckets": dict(listed.uuids), "left_out": listed.left_out}, indent=1) + "\n"
        with open_replacement(path, partial=path.with_name(path.name + ".partial")) as out:
            out.write(content.encode())
    except OSError as exc:
        raise FileError(f"can't write {path}: {explain(exc)}; run this again to continue the backup") from None


def remove_lonely_list(directory: Path, whole: bool) -> None:
    """Remove the list of a backup that failed before anything of it was copied; `whole`: and the directory."""
    with suppress(OSError):
        if {entry.name for entry in directory.iterdir()} == {BACKUP_LIST}:
            (directory / BACKUP_LIST).unlink()
        if whole:
            directory.rmdir()  # fails if anything is in it


def read_bucket_list(directory: Path) -> BucketList:
    """Read the list, and check that the directories are those that it names.

    Raises:
        FileError: It is damaged, or a bucket is missing, or is none of this backup.
    """
    listed = read_interrupted_list(directory)
    found = _directories(directory / BACKUP_BUCKETS)
    if missing := set(listed.names) - found:
        raise FileError(f"the backup in {directory} lacks the bucket {min(missing)}; make another backup")
    if more := found - set(listed.names):
        where = directory / BACKUP_BUCKETS / min(more)
        raise FileError(
            f"{where} is no part of the backup: {BACKUP_LIST} does not name it; put that file back, or remove the bucket"
        )
    return listed


def read_interrupted_list(directory: Path) -> BucketList:
    """Read the list, whatever is there of the buckets that it names. Without the file, there are none.

    Raises:
        FileError: It is damaged.
    """
    path = directory / BACKUP_LIST
    try:
        content = json.loads(read_bounded(path, _MAX_LIST, regular=True))
        uuids, left_out = content["buckets"], content["left_out"]
        texts = (*uuids.keys(), *uuids.values(), *left_out)
        if not all(isinstance(text, str) for text in texts) or not all(map(_NAME.fullmatch, uuids)):
            raise TypeError
        return BucketList(uuids, tuple(left_out))
    except FileNotFoundError:
        return BucketList()
    except OSError as exc:
        raise FileError(f"can't read {path}: {explain(exc)}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FileError(f"{path} is damaged: it is not the list of a backup's buckets; put it back, or back up again") from None


def _directories(path: Path) -> set[str]:
    try:
        return {entry.name for entry in path.iterdir() if _NAME.fullmatch(entry.name)}  # a server looks at no others
    except FileNotFoundError:
        return set()
    except OSError as exc:
        raise FileError(f"can't read {path}: {explain(exc)}") from None
