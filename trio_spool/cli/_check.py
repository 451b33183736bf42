"""``trio-spool check``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .._files import explain
from .._formats import visible
from ..engine import (
    DataDirectoryError,
    DirectoryLock,
    LastRun,
    Report,
    check_store,
    find_last_run,
    read_in_child,
    remove_session,
)
from ..server.data import directory_of
from ._common import json_option
from ._data_directory import check_data_directory, choose_buckets
from ._errors import FileError, explained
from ._progress import progress_bar


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--bucket", "buckets", multiple=True, help="Check only this bucket. Can be repeated. By default, all buckets.")
@click.option(
    "--accept", is_flag=True, help="Let a database be served again after a crash of the machine, if nothing damaged is found in it."
)
@json_option
def check(data_dir: Path, buckets: tuple[str, ...], accept: bool, as_json: bool) -> None:
    """Verify every page and every item of the data directory DATA_DIR.

    Each page of each bucket is read and looked at, each item is compared with its checksum, and everything is counted and compared
    with what the database says of itself. Each thing that is damaged is one line: the page and the byte of the file, or the key,
    and which keys a page had that can't be read. At the end, a process of its own reads all of it by LMDB. Nothing is changed.
    Stop the server before; a server that runs verifies its items itself.

    After a crash of the machine, a database that was used with --fsync no is refused, since nobody knows which of its pages are
    old ones. A check can't know either: an old page is a whole one. With --accept, it is served again all the same, if nothing
    damaged is found: some of its items may be missing, old, or deleted ones that are back.

    The exit status is 0 if everything is sound, and 1 if something is damaged or can't be checked. With --json, each bucket is an
    object on its own line.
    """
    check_data_directory(data_dir)
    sound = True
    with explained(DataDirectoryError, as_=FileError):
        names = choose_buckets(data_dir, buckets)
        lock = DirectoryLock(data_dir)
    try:
        for name in names:
            sound &= _check(directory_of(data_dir, name), name, accept, as_json)
    finally:
        lock.release()
    if not sound:
        raise SystemExit(1)


def _check(directory: Path, name: str, accept: bool, as_json: bool) -> bool:
    """Check one bucket, print what was found, and return whether it can be served."""
    last = find_last_run(directory)
    try:
        report = _read(directory, name, last, as_json)
    except DataDirectoryError as exc:
        report = Report()
        report.add(str(exc))
    accepted = accept and last.trouble is not None and last.checkpoint is None and not report.damaged
    if accepted:
        _accept(directory)
    unknown = last.trouble is not None and last.checkpoint is None and not accepted
    described = {
        "bucket": name, "items": report.items, "tombstones": report.tombstones, "bytes": report.bytes,
        "without_checksum": report.unchecked, "pages": report.pages,
        "free_pages": report.free_pages, "damaged": report.damaged, "damage": report.damage, "last_run": last.trouble,
        "accepted": accepted,
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(described))
    else:
        _print(name, report, last, accepted)
    return not report.damaged and not unknown


def _read(directory: Path, name: str, last: LastRun, quiet: bool) -> Report:
    with progress_bar(quiet) as bar:
        task = bar.add_task(name, total=None)
        report = check_store(directory, last.checkpoint, lambda done, total: bar.update(task, completed=done, total=total))
        if not report.damaged and last.checkpoint is None and (problem := read_in_child(directory)) is not None:
            report.add(problem)
    return report


def _accept(directory: Path) -> None:
    try:
        remove_session(directory)
    except OSError as exc:
        raise FileError(f"can't write to {directory}: {explain(exc)}; check who owns it") from None


def _print(name: str, report: Report, last: LastRun, accepted: bool) -> None:
    for line in report.damage:
        click.echo(visible(f"{name}: {line}"))
    if report.damaged > len(report.damage):
        click.echo(f"{name}: and {report.damaged - len(report.damage)} more")
    counts = f"{report.items} items, {report.bytes} bytes, {report.pages} pages in use, {report.free_pages} free"
    if report.tombstones:
        counts += f", {report.tombstones} tombstones"
    if report.unchecked:
        counts += f", {report.unchecked} items without a checksum"
    click.echo(f"{name}: {counts}: {f'{report.damaged} damaged' if report.damaged else 'sound'}")
    if last.trouble is None:
        return
    if last.checkpoint is not None:
        click.echo(f"{name}: {last.trouble}: the next start goes back to the last sync, and that is what was checked")
    elif accepted:
        click.echo(f"{name}: accepted, although {last.trouble}: items may be missing, old, or deleted ones that are back")
    elif report.damaged:
        click.echo(f"{name}: {last.trouble}; restore a backup")
    else:
        click.echo(f"{name}: {last.trouble}: it is not served; restore a backup, or accept it as it is with --accept")
