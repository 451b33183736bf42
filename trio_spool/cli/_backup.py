"""``trio-spool backup``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..client import BackupError, BackupResult, backup_server
from ._common import json_option, run_with_server, server_argument
from ._errors import FileError, StoppedError, explained
from ._progress import progress_bar
from ._session import Server, session_options


@click.command()
@server_argument
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
@session_options
def backup(server: Server, directory: Path, as_json: bool) -> None:
    """Copy a bucket's database from a running server into DIRECTORY.

    The copy shows the bucket as it was when the command started; other clients can read and write meanwhile. The user needs the
    role admin for the bucket. DIRECTORY must not exist, or be empty, or hold a backup that was interrupted.

    If the connection breaks, the command reconnects and continues. If the command itself is ended, run it again to continue. To
    serve the backup: trio-spool serve DIRECTORY.
    """
    server.keywords()  # asks for the password, before there is a progress bar
    with progress_bar(as_json) as progress:
        task = progress.add_task("preparing", total=None)

        def report(done: int, size: int) -> None:
            progress.update(task, description=directory.name, completed=done, total=size)

        async def work() -> BackupResult:
            return await backup_server(server.host, server.port, directory, report, **server.keywords())

        try:
            with explained(BackupError, as_=FileError):
                result = run_with_server(server, work)
        except KeyboardInterrupt:
            raise StoppedError(f"interrupted; run the command again to continue the backup in {directory}") from None
    described = {
        "directory": str(directory),
        "bytes": result.manifest.size,
        "resumed_at": result.resumed_at,
        "reconnections": result.reconnections,
    }
    resumed = f" ({result.resumed_at} of them earlier)" if result.resumed_at else ""
    click.echo(json.dumps(described) if as_json else f"backed up {result.manifest.size} bytes{resumed} to {directory}")
