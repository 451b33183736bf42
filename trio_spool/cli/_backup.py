"""``trio-spool backup``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import click
import trio

from .._files import explain
from .._formats import BACKUP_BUCKETS, visible
from ..client import (
    AccessError,
    BackupError,
    BackupResult,
    Client,
    NotFoundError,
    backup_server,
    check_backup_directory,
    is_complete_backup,
    read_manifest,
)
from ._bucket_list import BucketList, bucket_directory, read_interrupted_list, remove_lonely_list, write_bucket_list
from ._common import json_option, run_with_server, say_hello, server_argument, server_command
from ._errors import ConnectionFailedError, FileError, StoppedError, explained
from ._places import DEFAULT_BUCKET
from ._progress import progress_bar
from ._session import Server, session_options
from ._unlisted import unlisted

Report = Callable[[str, int, int], object]


@server_command()
@server_argument
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
@session_options
def backup(server: Server, directory: Path, as_json: bool) -> None:
    """Copy the databases of all buckets from a running server into DIRECTORY.

    Each bucket is copied as it is when its turn comes; other clients can read and write meanwhile. The user needs the role admin
    for the buckets. What is left out is named on standard error, and later by verify. DIRECTORY must not exist, or be empty, or
    hold a backup that was interrupted.

    With --bucket, only that bucket is copied, and DIRECTORY itself is its copy: served, it is the bucket default.

    If the connection breaks, the command reconnects and continues. If the command itself is ended, run it again to continue. To
    serve the backup: trio-spool serve DIRECTORY.
    """
    server.keywords()  # asks for the password, before there is a progress bar
    with progress_bar(as_json) as progress:
        task = progress.add_task("preparing", total=None)

        def report(name: str, done: int, size: int) -> None:
            progress.update(task, description=name, completed=done, total=size)

        run = _back_up_all if server.bucket is None else _back_up_one
        try:
            with explained(BackupError, as_=FileError):
                made = run_with_server(server, partial(run, server, directory, report))
        except KeyboardInterrupt:
            raise StoppedError(f"interrupted; run the command again to continue the backup in {directory}") from None
    for sentence in made.left_out:
        click.echo(visible(f"left out {sentence}"), err=True)
    click.echo(json.dumps(made.described(directory)) if as_json else visible(made.sentence(directory)))


@attrs.define
class _Made:
    """What has been backed up.

    Attributes:
        buckets: The names of the buckets.
        left_out: What was left out, a sentence for each.
        size: The number of bytes.
        resumed_at: The number of bytes of them that an earlier run had copied.
        reconnections: The number of times that a connection broke and was made again.
    """

    buckets: list[str] = attrs.Factory(list)
    left_out: list[str] = attrs.Factory(list)
    size: int = 0
    resumed_at: int = 0
    reconnections: int = 0

    def add(self, name: str, result: BackupResult) -> None:
        """Add a bucket."""
        self.buckets.append(name)
        self.size += result.manifest.size
        self.resumed_at += result.resumed_at
        self.reconnections += result.reconnections

    def described(self, directory: Path) -> dict[str, object]:
        """Return what JSON says."""
        return {
            "directory": str(directory), "bytes": self.size, "resumed_at": self.resumed_at, "reconnections": self.reconnections,
            "buckets": sorted(self.buckets), "left_out": self.left_out,
        }  # fmt: skip

    def sentence(self, directory: Path) -> str:
        """Return what is said to people."""
        resumed = f" ({self.resumed_at} of them earlier)" if self.resumed_at else ""
        names = sorted(self.buckets)
        which = f"the bucket {names[0]}" if len(names) == 1 else f"the buckets {', '.join(names)}"
        return f"backed up {self.size} bytes{resumed} of {which} to {directory}"


async def _back_up_one(server: Server, directory: Path, report: Report) -> _Made:
    name, made = server.bucket or DEFAULT_BUCKET, _Made()
    made.add(name, await _copy(server, name, directory, report))
    return made


async def _copy(server: Server, name: str, directory: Path, report: Report) -> BackupResult:
    keywords = server.keywords().copy()
    keywords["bucket"] = name
    return await backup_server(server.host, server.port, directory, partial(report, name), **keywords)


async def _back_up_all(server: Server, directory: Path, report: Report) -> _Made:
    """Back up all buckets that this user may back up: the default one last, since it makes the backup complete.

    Raises:
        ConnectionFailedError: The default bucket can't be backed up, without which there is no data directory.
    """
    await trio.to_thread.run_sync(check_backup_directory, directory)
    made = _Made()
    uuids, made.left_out = await _choose(server)
    if DEFAULT_BUCKET not in uuids:
        raise ConnectionFailedError(
            f"the bucket default can't be backed up, and without it there is no data directory ({'; '.join(made.left_out)}); "
            "name one bucket with --bucket"
        )
    del uuids[DEFAULT_BUCKET]
    is_new = not await trio.to_thread.run_sync(directory.exists)
    try:
        await trio.to_thread.run_sync(_begin_in_thread, directory, uuids, made.left_out)
        await _copy_all(server, tuple(uuids), directory, report, made)
    except BaseException:
        remove_lonely_list(directory, is_new)
        raise
    return made


async def _copy_all(server: Server, names: tuple[str, ...], directory: Path, report: Report, made: _Made) -> None:
    """Copy those buckets that are not complete, and then the default one."""
    for name in names:
        place = bucket_directory(directory, name)
        if await trio.to_thread.run_sync(is_complete_backup, place):
            manifest = await trio.to_thread.run_sync(read_manifest, place)
            made.add(name, BackupResult(manifest, manifest.size, 0))
        else:
            made.add(name, await _copy(server, name, place, report))
    made.add(DEFAULT_BUCKET, await _copy(server, DEFAULT_BUCKET, directory, report))


async def _choose(server: Server) -> tuple[dict[str, str], list[str]]:
    """Return the names and UUIDs of the buckets that this user may back up, and a sentence about each other bucket."""
    chosen, left_out = dict[str, str](), list[str]()
    async with server.open() as client:
        await say_hello(client)  # so that the server says why it refuses
        names = await client.list_buckets()
        for name in names:
            with server.answering():
                try:
                    await client.select_bucket(name)
                    await client.release_snapshot("none")  # of which only those who may make one are told that it does not exist
                except NotFoundError:
                    pass
                except AccessError as exc:
                    left_out.append(f"the bucket {name!r}: {exc}")
                    continue
                chosen[name] = await _uuid_of_selected(client)
        if names:
            with server.answering():
                left_out += await unlisted(client, names)
    return chosen, left_out


async def _uuid_of_selected(client: Client) -> str:
    async with client.stat("uuid") as statistics:
        async for name, value in statistics:
            if name == b"uuid":
                return value[:100].decode("utf-8", "replace")
    return ""


def _begin_in_thread(directory: Path, uuids: dict[str, str], left_out: list[str]) -> None:
    """Write what buckets the backup is to have, beside the default one.

    Raises:
        FileError: It can't be written; or there is a complete copy of another bucket of the same name, maybe of another server.
    """
    listed = read_interrupted_list(directory)
    for name, uuid in uuids.items():
        place = bucket_directory(directory, name)
        if is_complete_backup(place) and listed.uuids.get(name) != uuid:
            raise FileError(f"{place} has a copy of another bucket of this name; remove {directory}, or choose another directory")
    kept = _remove_incomplete_in_thread(directory, set(uuids))
    write_bucket_list(directory, BucketList({name: listed.uuids.get(name, "") for name in kept} | uuids, tuple(left_out)))


def _remove_incomplete_in_thread(directory: Path, names: set[str]) -> list[str]:
    """Remove what is here of buckets that are gone from the server, and return the names of those that are complete.

    Raises:
        FileError: It can't be removed.
    """
    kept = []
    try:
        for place in sorted((directory / BACKUP_BUCKETS).iterdir()):
            if place.name not in names:
                if is_complete_backup(place):
                    kept.append(place.name)
                else:
                    shutil.rmtree(place)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise FileError(f"can't remove the rest of a bucket in {directory}: {explain(exc)}") from None
    return kept
