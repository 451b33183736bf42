"""Data directories that commands work on themselves, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..engine import MARKER
from ..server.data import BUCKETS_DIRECTORY, DEFAULT_BUCKET, bucket_names_in_thread
from ._errors import FileError


def check_data_directory(data_dir: Path) -> None:
    """Check that a directory looks like one.

    Raises:
        FileError: It does not.
    """
    if not (data_dir / MARKER).exists() and not (data_dir / BUCKETS_DIRECTORY).is_dir():
        raise FileError(f"{data_dir} is not a data directory of trio-spool: it has no {MARKER}; name another one")


def choose_buckets(data_dir: Path, chosen: Sequence[str]) -> list[str]:
    """Return the names of the chosen buckets, or of all if none is chosen.

    Raises:
        FileError: The data directory lacks one of them.
        DataDirectoryError: It can't be read.
    """
    names = [DEFAULT_BUCKET, *bucket_names_in_thread(data_dir)]
    if missing := sorted(set(chosen) - set(names)):
        raise FileError(f"no bucket in {data_dir} is named {missing[0]!r}; there are {', '.join(names)}")
    return [name for name in names if not chosen or name in chosen]
