"""``trio-spool backup``, ``verify`` and ``restore``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click

from .._files import explain, replace_durably, sync_file
from ..client import BackupError, BackupResult, Manifest, backup_server, read_manifest
from ..engine import DATABASE, MARKER, CopyError, DataDirectoryError, claim_directory, count_copy
from ._common import json_option, run_with_server, server_argument
from ._progress import progress_bar
from ._session import Server, session_options

PIECE = 1024 * 1024
# Where a data directory is built, within it.
BUILDING = ".restoring"

directory_argument = click.argument("directory", type=click.Path(path_type=Path))


@click.command()
@server_argument
@directory_argument
@json_option
@session_options
def backup(server: Server, directory: Path, as_json: bool) -> None:
    """Copy a bucket's database, as it is now, into DIRECTORY, while others go on reading and writing.

    It is the bucket that --bucket says, or the default one. The user needs the role admin there.

    If the connection breaks, this reconnects and goes on; if it was ended in any way, run it again to go on. DIRECTORY can then be
    served as it is: trio-spool serve DIRECTORY.
    """
    server.keywords()  # what is asked for must not get between the lines of the progress bar
    with progress_bar(as_json) as progress:
        task = progress.add_task("preparing", total=None)

        def report(done: int, size: int) -> None:
            progress.update(task, description=directory.name, completed=done, total=size)

        async def work() -> BackupResult:
            return await backup_server(server.host, server.port, directory, report, **server.keywords())

        try:
            result = run_with_server(server, work)
        except BackupError as exc:
            raise click.ClickException(str(exc)) from None
        except KeyboardInterrupt:
            raise click.ClickException(f"interrupted; run this again to go on with {directory}") from None
    described = {
        "directory": str(directory),
        "bytes": result.manifest.size,
        "resumed_at": result.resumed_at,
        "reconnections": result.reconnections,
    }
    resumed = f", {result.resumed_at} of them earlier" if result.resumed_at else ""
    click.echo(json.dumps(described) if as_json else f"backed up {result.manifest.size} bytes{resumed} to {directory}")


def _read_backup(directory: Path) -> Manifest:
    """Return what a backup consists of.

    Raises:
        BackupError: There is none, or it has no database.
    """
    manifest = read_manifest(directory)
    if missing := {DATABASE, MARKER} - {entry.path for entry in manifest.files}:
        raise BackupError(f"the backup in {directory} has no {' and no '.join(sorted(missing))}; make another backup")
    return manifest


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file of a backup by the piece.

    Raises:
        BackupError: It is missing, has another size, or can't be read.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise BackupError(f"{path} has {found} bytes, not {size}: it was changed or damaged since the backup")
            while piece := file.read(PIECE):
                yield piece
    except FileNotFoundError:
        raise BackupError(f"{path} is missing") from None
    except OSError as exc:
        raise BackupError(f"can't read {path}: {explain(exc)}") from None


def _check(directory: Path, manifest: Manifest, quiet: bool, copy_to: Path | None = None) -> None:
    """Compare the files with their checksums, and copy them if it is said where to.

    Raises:
        BackupError: One can't be read, or differs.
        OSError: One can't be written.
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
                raise BackupError(f"{path} has another SHA-512 than when it was made: it was changed or damaged")


@click.command()
@directory_argument
@json_option
def verify(directory: Path, as_json: bool) -> None:
    """Check that the backup in DIRECTORY is what the server had: sizes, SHA-512, and that it opens."""
    try:
        manifest = _read_backup(directory)
        _check(directory, manifest, as_json)
        items = count_copy(directory)
    except (BackupError, CopyError) as exc:
        raise click.ClickException(str(exc)) from None
    described = {"directory": str(directory), "files": len(manifest.files), "bytes": manifest.size, "items": items}
    click.echo(
        json.dumps(described)
        if as_json
        else f"{directory} is as it was made: {len(manifest.files)} files, {manifest.size} bytes, {items} items"
    )


def _make_room(data_dir: Path) -> None:
    """Make a directory, or clear what an interrupted restore has left in one.

    Raises:
        BackupError: There is something else in it.
    """
    if data_dir.exists() and not data_dir.is_dir():
        raise BackupError(f"{data_dir} is not a directory; name another, or a path where one can be made")
    data_dir.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in data_dir.iterdir()}
    if BUILDING in names and names <= {BUILDING, DATABASE}:
        shutil.rmtree(data_dir / BUILDING)
        (data_dir / DATABASE).unlink(missing_ok=True)
    elif names:
        raise BackupError(f"{data_dir} is not empty; name another directory, or a path where one can be made")


@click.command()
@directory_argument
@click.argument("data_dir", type=click.Path(path_type=Path))
@json_option
def restore(directory: Path, data_dir: Path, as_json: bool) -> None:
    """Make a new data directory, DATA_DIR, of the backup in DIRECTORY, which is verified and left as it is.

    DATA_DIR must be missing or empty, and can't be served until it is complete. It gets an identity of its own: what is written to
    it is not what would have been written to the original.
    """
    try:
        manifest = _read_backup(directory)
        if {entry.path for entry in manifest.files} != {DATABASE, MARKER}:
            raise BackupError(f"the backup in {directory} has files that this version does not know; upgrade trio-spool")
        _make_room(data_dir)
        building = data_dir / BUILDING
        claim_directory(building, "lmdb")
        try:
            _check(directory, manifest, as_json, building)
            items = count_copy(building)
            replace_durably(building / DATABASE, data_dir / DATABASE)
            replace_durably(building / MARKER, data_dir / MARKER)  # the last one: it makes this a data directory
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except (BackupError, CopyError, DataDirectoryError) as exc:
        raise click.ClickException(str(exc)) from None
    except OSError as exc:
        where = exc.filename or data_dir  # writes don't say what they wrote to
        raise click.ClickException(f"can't write to {where}: {explain(exc)}; make it possible, or name another directory") from None
    described = {"data_dir": str(data_dir), "bytes": manifest.size, "items": items}
    click.echo(json.dumps(described) if as_json else f"restored {items} items to {data_dir}; serve it: trio-spool serve {data_dir}")
