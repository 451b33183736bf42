"""``trio-spool verify`` and ``trio-spool restore``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from .._files import explain, make_directories, open_regular, replace_durably, sync_file
from ..client import BackupError, Manifest, read_manifest
from ..engine import DATABASE, MARKER, CopyError, DataDirectoryError, claim_directory, count_copy
from ._common import json_option
from ._errors import FileError, explained
from ._progress import progress_bar

# Bytes that are read at once. Picked, not measured.
PIECE: Final = 1024 * 1024
# The subdirectory of a data directory in which `restore` builds it.
BUILDING: Final = ".restoring"

directory_argument = click.argument("directory", type=click.Path(path_type=Path))


def _read_backup(directory: Path) -> Manifest:
    """Read the manifest of a backup.

    Raises:
        BackupError: There is no backup, or it lacks the database.
    """
    manifest = read_manifest(directory)
    if missing := {DATABASE, MARKER} - {entry.path for entry in manifest.files}:
        raise FileError(f"the backup in {directory} lacks {' and '.join(sorted(missing))}; make another backup")
    return manifest


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


def _check(directory: Path, manifest: Manifest, quiet: bool, copy_to: Path | None = None) -> None:
    """Compare the files of a backup with their checksums.

    Args:
        directory: Where the backup is.
        manifest: Its manifest.
        quiet: Show no progress bar.
        copy_to: A directory to copy the files to.

    Raises:
        FileError: A file can't be read, or differs.
        OSError: A copy can't be written.
    """
    with progress_bar(quiet) as progress:
        task = progress.add_task(directory.name, total=manifest.size)
        for entry in manifest.files:
            path, digest = directory / entry.path, hashlib.sha512()
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


@click.command()
@directory_argument
@json_option
def verify(directory: Path, as_json: bool) -> None:
    """Check that the backup in DIRECTORY is complete and undamaged.

    This compares the sizes and the SHA-512 of its files with those on the server, and opens the database.
    """
    with explained(BackupError, CopyError, as_=FileError):
        manifest = _read_backup(directory)
        _check(directory, manifest, as_json)
        items = count_copy(directory)
    described = {"directory": str(directory), "files": len(manifest.files), "bytes": manifest.size, "items": items}
    click.echo(
        json.dumps(described)
        if as_json
        else f"{directory} is complete and undamaged: {len(manifest.files)} files, {manifest.size} bytes, {items} items"
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
    if BUILDING in names and names <= {BUILDING, DATABASE}:
        shutil.rmtree(data_dir / BUILDING)
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
    ended. It gets a new identity, because its contents will differ from those of the original server.
    """
    try:
        with explained(BackupError, CopyError, DataDirectoryError, as_=FileError):
            manifest, items = restore_in(directory, data_dir, as_json)
    except OSError as exc:
        where = exc.filename or data_dir  # an error of a write does not name the file
        raise FileError(f"can't write to {where}: {explain(exc)}; choose another directory, or correct this") from None
    described = {"data_dir": str(data_dir), "bytes": manifest.size, "items": items}
    click.echo(
        json.dumps(described) if as_json else f"restored {items} items to {data_dir}; to serve them: trio-spool serve {data_dir}"
    )


def restore_in(
    directory: Path, data_dir: Path, quiet: bool, replace: Callable[[Path, Path], None] = replace_durably
) -> tuple[Manifest, int]:
    """Make a data directory from a backup.

    Args:
        directory: Where the backup is.
        data_dir: The new data directory.
        quiet: Show no progress bar.
        replace: Moves a file.

    Returns:
        The manifest of the backup, and the number of items.

    Raises:
        BackupError: There is no backup, or it lacks the database.
        FileError: The backup is damaged, or `data_dir` is not empty.
        CopyError: The database can't be opened.
        DataDirectoryError: The data directory can't be written.
        OSError: A file can't be written.
    """
    manifest = _read_backup(directory)
    if {entry.path for entry in manifest.files} != {DATABASE, MARKER}:
        raise FileError(f"the backup in {directory} has files that this version does not know; upgrade trio-spool")
    _make_room(data_dir)
    building = data_dir / BUILDING
    claim_directory(building, "lmdb")
    try:
        _check(directory, manifest, quiet, building)
        items = count_copy(building)
        replace(building / DATABASE, data_dir / DATABASE)
        replace(building / MARKER, data_dir / MARKER)  # the last step: from here on it is a data directory
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest, items
