"""``trio-spool verify`` and ``trio-spool restore``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from .._files import explain, make_directories, open_regular, replace_durably, sync_directory, sync_file
from .._formats import BACKUP_BUCKETS, visible
from ..client import BackupError, Manifest, read_manifest
from ..engine import DATABASE, MARKER, CopyError, DataDirectoryError, claim_directory, count_copy
from ._bucket_list import bucket_directory, read_bucket_list
from ._common import json_option
from ._errors import FileError, explained
from ._progress import progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Bytes that are read at once. Picked, not measured.
PIECE: Final = 1024 * 1024
# The subdirectory of a data directory in which `restore` builds it.
BUILDING: Final = ".restoring"

directory_argument = click.argument("directory", type=click.Path(path_type=Path))


@attrs.frozen
class _Part:
    """One bucket of a backup.

    Attributes:
        directory: Where it is.
        manifest: Its manifest.
        place: Where it is in the backup, and is to be in a data directory.
    """

    directory: Path
    manifest: Manifest
    place: Path


@attrs.frozen
class _Whole:
    """A backup.

    Attributes:
        parts: Its buckets, the default one first.
        left_out: What it lacks, a sentence for each.
    """

    parts: tuple[_Part, ...]
    left_out: tuple[str, ...]

    @property
    def files(self) -> int:
        """The number of files."""
        return sum(len(part.manifest.files) for part in self.parts)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(part.manifest.size for part in self.parts)


def _read_backup(directory: Path) -> _Whole:
    """Read the manifests of a backup.

    Raises:
        BackupError: There is no backup, or it is not complete.
        FileError: It lacks a database or a bucket, or is damaged.
    """
    parts = [_read_part(directory, Path())]
    listed = read_bucket_list(directory)
    parts += [_read_part(directory, bucket_directory(Path(), name)) for name in listed.names]
    return _Whole(tuple(parts), listed.left_out)


def _read_part(directory: Path, place: Path) -> _Part:
    manifest = read_manifest(directory / place)
    if missing := {DATABASE, MARKER} - {entry.path for entry in manifest.files}:
        raise FileError(f"the backup in {directory / place} lacks {' and '.join(sorted(missing))}; make another backup")
    return _Part(directory / place, manifest, place)


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file of a backup in pieces.

    Raises:
        FileError: It is missing, has the wrong size, or can't be read.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise FileError(f"{path} has {found} bytes instead of {size}: it was changed or damaged after the backup")
            while piece := file.read(PIECE):
                yield piece
    except FileNotFoundError:
        raise FileError(f"{path} is missing; make another backup") from None
    except OSError as exc:
        raise FileError(f"can't read {path}: {explain(exc)}") from None


def _check(part: _Part, progress: Progress, task: TaskID, copy_to: Path | None = None) -> None:
    """Compare the files of a bucket with their checksums.

    Args:
        part: The bucket.
        progress: Shows how far this has come.
        task: What is shown there.
        copy_to: A directory to copy the files to.

    Raises:
        FileError: A file can't be read, or differs.
        OSError: A copy can't be written.
    """
    for entry in part.manifest.files:
        path, digest = part.directory / entry.path, hashlib.sha512()
        with ExitStack() as stack:
            out = None
            if copy_to is not None and entry.path != MARKER:
                out = stack.enter_context((copy_to / entry.path).open("wb"))
            for piece in _pieces(path, entry.size):
                digest.update(piece)
                if out is not None:
                    out.write(piece)
                progress.advance(task, len(piece))
            if out is not None:
                sync_file(out)
        if entry.sha512 is not None and digest.hexdigest() != entry.sha512:
            raise FileError(f"{path} has the wrong SHA-512: it was changed or damaged after the backup")


def _name_what_is_left_out(whole: _Whole) -> None:
    for sentence in whole.left_out:
        click.echo(visible(f"the backup was made without {sentence}"), err=True)


@click.command()
@directory_argument
@json_option
def verify(directory: Path, as_json: bool) -> None:
    """Check that the backup in DIRECTORY is complete and undamaged.

    This compares the sizes and the SHA-512 of its files with those on the server, and opens the database of each bucket. What was
    left out of the backup is named on standard error.
    """
    with explained(BackupError, CopyError, as_=FileError):
        whole, items = _read_backup(directory), 0
        with progress_bar(as_json) as progress:
            task = progress.add_task(directory.name, total=whole.size)
            for part in whole.parts:
                _check(part, progress, task)
                items += count_copy(part.directory)
    _name_what_is_left_out(whole)
    described = {
        "directory": str(directory), "buckets": len(whole.parts), "files": whole.files, "bytes": whole.size, "items": items,
        "left_out": whole.left_out,
    }  # fmt: skip
    many = f"{len(whole.parts)} buckets, " if len(whole.parts) > 1 else ""
    click.echo(
        json.dumps(described)
        if as_json
        else visible(f"{directory} is complete and undamaged: {many}{whole.files} files, {whole.size} bytes, {items} items")
    )


def _make_room(data_dir: Path) -> None:
    """Create a directory, or remove what an interrupted restore has left in it.

    Raises:
        FileError: There are other files in it.
    """
    if data_dir.exists() and not data_dir.is_dir():
        raise FileError(f"{data_dir} is not a directory; choose an empty or a new one")
    make_directories(data_dir)
    names = {path.name for path in data_dir.iterdir()}
    if BUILDING in names and names <= {BUILDING, BACKUP_BUCKETS, DATABASE}:
        shutil.rmtree(data_dir / BUILDING)
        shutil.rmtree(data_dir / BACKUP_BUCKETS, ignore_errors=True)
        (data_dir / DATABASE).unlink(missing_ok=True)
    elif names:
        raise FileError(f"{data_dir} is not empty; choose an empty or a new directory")


@click.command()
@directory_argument
@click.argument("data_dir", type=click.Path(path_type=Path))
@json_option
def restore(directory: Path, data_dir: Path, as_json: bool) -> None:
    """Make the new data directory DATA_DIR from the backup in DIRECTORY.

    The backup is verified, and stays as it is. DATA_DIR must not exist, or be empty; it can be served when the command has
    ended. Each bucket gets a new identity, because its contents will differ from those on the original server.
    """
    try:
        with explained(BackupError, CopyError, DataDirectoryError, as_=FileError):
            whole, items = restore_in(directory, data_dir, as_json)
    except OSError as exc:
        where = exc.filename or data_dir  # an error of a write does not name the file
        raise FileError(f"can't write to {where}: {explain(exc)}; choose another directory, or correct this") from None
    _name_what_is_left_out(whole)
    described = {
        "data_dir": str(data_dir), "buckets": len(whole.parts), "bytes": whole.size, "items": items, "left_out": whole.left_out
    }  # fmt: skip
    many = f" of {len(whole.parts)} buckets" if len(whole.parts) > 1 else ""
    click.echo(
        json.dumps(described)
        if as_json
        else visible(f"restored {items} items{many} to {data_dir}; to serve them: trio-spool serve {data_dir}")
    )


def restore_in(
    directory: Path, data_dir: Path, quiet: bool, replace: Callable[[Path, Path], None] = replace_durably
) -> tuple[_Whole, int]:
    """Make a data directory from a backup.

    Args:
        directory: Where the backup is.
        data_dir: The new data directory.
        quiet: Show no progress bar.
        replace: Moves a file or a directory.

    Returns:
        The backup, and the number of items.

    Raises:
        BackupError: There is no backup, or it is not complete.
        FileError: The backup is damaged, or `data_dir` is not empty.
        CopyError: The database can't be opened.
        DataDirectoryError: The data directory can't be written.
        OSError: A file can't be written.
    """
    whole = _read_backup(directory)
    for part in whole.parts:
        if {entry.path for entry in part.manifest.files} != {DATABASE, MARKER}:
            raise FileError(f"the backup in {part.directory} has files that this version does not know; upgrade trio-spool")
    _make_room(data_dir)
    building = data_dir / BUILDING
    try:
        items = _build(whole, building, quiet)
        if len(whole.parts) > 1:
            replace(building / BACKUP_BUCKETS, data_dir / BACKUP_BUCKETS)
        replace(building / DATABASE, data_dir / DATABASE)
        replace(building / MARKER, data_dir / MARKER)  # the last step: from here on it is a data directory
    except BaseException:
        shutil.rmtree(data_dir / BACKUP_BUCKETS, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return whole, items


def _build(whole: _Whole, building: Path, quiet: bool) -> int:
    """Make a data directory, and return the number of items in it."""
    items = 0
    with progress_bar(quiet) as progress:
        task = progress.add_task(whole.parts[0].directory.name, total=whole.size)
        for part in whole.parts:
            claim_directory(building / part.place, "lmdb")
            _check(part, progress, task, building / part.place)
            items += count_copy(building / part.place)
            sync_directory(building / part.place)
    return items
