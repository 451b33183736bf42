"""``trio-spool compact``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from .._files import explain
from ..engine import Compacted, DirectoryLock, EngineError, compact_store
from ..server.data import DEFAULT_BUCKET, directory_of, remove_remains_in_thread
from ._common import json_option
from ._data_directory import check_data_directory, choose_buckets
from ._errors import CliError, FileError, explained
from ._progress import progress_bar


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--bucket", "buckets", multiple=True, help="Compact only this bucket. Can be repeated. By default, all buckets.")
@click.option("--allow-network-storage", is_flag=True, help="Allow a DATA_DIR on a network file system.")
@json_option
def compact(data_dir: Path, buckets: tuple[str, ...], allow_network_storage: bool, as_json: bool) -> None:
    """Give space back that the data directory DATA_DIR no longer needs.

    The file of a bucket never gets smaller by itself: room that deleted and overwritten items leave is used for later ones. This
    command replaces it by a compacted copy, bucket after bucket. Stop the server before. The command needs room on the disk for
    a copy of the largest bucket. If it is interrupted, nothing is lost: every bucket has its old file or its new one.

    With --json, each bucket is an object on its own line.
    """
    failed = False
    for name in _names(data_dir, buckets):
        try:
            result = _compact(data_dir, name, allow_network_storage, as_json)
        except CliError as exc:
            failed = True
            exc.show()
            continue
        described = {"bucket": name, "bytes_before": result.before, "bytes_after": result.after, "items": result.items}
        click.echo(
            json.dumps(described) if as_json else f"{name}: {result.after} bytes, {result.before} before; {result.items} items"
        )
    if failed:
        raise SystemExit(1)


def _names(data_dir: Path, chosen: Sequence[str]) -> list[str]:
    """Return the names of the buckets to compact.

    Raises:
        FileError: The data directory can't be used, or lacks a bucket.
    """
    check_data_directory(data_dir)
    with _locked(data_dir):
        remove_remains_in_thread(data_dir)
        return choose_buckets(data_dir, chosen)


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep servers away from a data directory.

    Raises:
        FileError: Somebody uses it.
    """
    with explained(EngineError, as_=FileError):
        lock = DirectoryLock(data_dir)
    try:
        with explained(EngineError, as_=FileError):
            yield
    finally:
        lock.release()


def _compact(data_dir: Path, name: str, allow_network: bool, quiet: bool) -> Compacted:
    """Compact one bucket.

    Raises:
        FileError: It can't be compacted, and is what it was before.
    """
    directory = directory_of(data_dir, name)
    with progress_bar(quiet) as bar:
        task = bar.add_task(name, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            if name == DEFAULT_BUCKET:  # its own lock is that of the data directory
                with explained(EngineError, as_=FileError):
                    return compact_store(directory, allow_network=allow_network, progress=progress)
            with _locked(data_dir):
                return compact_store(directory, allow_network=allow_network, progress=progress)
        except OSError as exc:
            raise FileError(f"can't compact {directory}: {explain(exc)}; nothing has changed") from None
