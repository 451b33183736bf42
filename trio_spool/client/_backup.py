"""Backups: copying a snapshot of a server's files to this machine, in a way that can be interrupted and resumed at any moment."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from .._core import raise_the_one
from .._files import explain
from ..mcbp import Feature, FragmentRequest
from ._backup_directory import BackupDirectory
from ._client import Client
from ._errors import BackupError, ChecksumError, ClientError, ConnectionLostError, NotFoundError, ServerError
from ._files import Manifest, ManifestFile
from ._open import ANSWER_TIMEOUT, open_client

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# The numbers below were picked, not measured.
#
# The size of the fragments to ask for, and of the pieces that have a checksum each, in bytes.
PIECE = 4 * 1024 * 1024
CHECKSUM_LENGTH = 64 * 1024
# How many connections in a row may break without a byte of progress, and how long to wait between them, in seconds.
ATTEMPTS = 5
RETRY_SECONDS = 1.0

Report = Callable[[int, int], object]
T = TypeVar("T")


@attrs.frozen
class BackupResult:
    """The result of `backup_server`.

    Attributes:
        manifest: The manifest of the backup.
        resumed_at: The number of bytes that an earlier, interrupted call had copied.
        reconnections: The number of times that the connection broke and was made again.
    """

    manifest: Manifest
    resumed_at: int
    reconnections: int


async def backup_server(
    host: str,
    port: int,
    directory: Path,
    report: Report = lambda done, size: None,
    *,
    username: str | None = None,
    password: str | None = None,
    bucket: str | None = None,
    tls: ssl.SSLContext | None = None,
    answer_timeout: float = ANSWER_TIMEOUT,
    retry_seconds: float = RETRY_SECONDS,
) -> BackupResult:
    """Copy a server's database into a directory, or resume a copy that was interrupted.

    Args:
        host: The host of the server.
        port: The TCP port of the server.
        directory: The directory, which is made if it is missing. It must be empty, or hold an interrupted backup.
        report: Called as bytes arrive, with the number of bytes that are here and the total.
        username: As for `open_client`.
        password: As for `open_client`.
        bucket: The bucket whose database to copy. By default, the default bucket.
        tls: As for `open_client`.
        answer_timeout: As for `open_client`; but while the server makes the snapshot, it may be silent for 120 times as long.
        retry_seconds: How long to wait before connecting again, after a connection that made no progress.

    Raises:
        BackupError: The directory can't be used, or a file did not arrive as the server described it.
        ClientError: The server can't make a snapshot, or can't be reached any more.
    """
    backup = await trio.to_thread.run_sync(BackupDirectory, directory)
    try:
        transfer = _Transfer(backup, report)
        return await _transfer_until_complete(
            transfer, host, port, retry_seconds, username=username, password=password, bucket=bucket, tls=tls,
            answer_timeout=answer_timeout,
        )  # fmt: skip
    except BaseException:
        backup.remove_empty()
        raise


async def _transfer_until_complete(transfer: _Transfer, host: str, port: int, retry_seconds: float, **login: Any) -> BackupResult:
    """Transfer everything, and connect again when the connection breaks."""
    failures = 0
    while True:
        before = transfer.done
        try:
            async with open_client(host, port, **login) as client:
                manifest = await transfer.run(client)
            return BackupResult(manifest, transfer.resumed_at, transfer.reconnections)
        except ConnectionLostError:
            failures = 0 if transfer.done > before else failures + 1
            if failures >= ATTEMPTS or not transfer.reached:
                raise
            transfer.reconnections += 1
            await trio.sleep(retry_seconds if failures else 0)


class _Transfer:
    """The state of one call of `backup_server`."""

    def __init__(self, backup: BackupDirectory, report: Report) -> None:
        self._backup = backup
        self._report = report
        self.done = 0  # the number of bytes that are here
        self.resumed_at = 0
        self.reconnections = 0
        self.reached = False  # whether the server has ever answered

    async def run(self, client: Client) -> Manifest:
        """Copy the files that are missing, with one connection."""
        try:
            await client.hello("trio-spool backup", (Feature.XERROR, Feature.JSON))
        except ServerError:
            pass  # a server without HELLO: its errors say less
        self.reached = True
        manifest = self._backup.manifest
        if manifest is None or not await self._still_there(client, manifest):
            manifest = await client.prepare_snapshot()
            await self._in_thread(self._backup.keep_manifest, manifest)
        self.done = 0
        for file in manifest.files:
            await self._copy_file(client, manifest, file)
        await self._in_thread(self._backup.complete)
        try:
            await client.release_snapshot(manifest.uuid)
        except ClientError:
            pass  # the server removes a snapshot that is not used for a while
        return manifest

    async def _still_there(self, client: Client, manifest: Manifest) -> bool:
        try:
            await client.fragment(manifest.uuid, FragmentRequest(id=manifest.files[0].id, offset=0, length=0))
        except NotFoundError:
            return False
        return True

    async def _copy_file(self, client: Client, manifest: Manifest, file: ManifestFile) -> None:
        if await self._in_thread(self._backup.has, file):
            self._arrived(manifest, file.size)
            return
        with await self._in_thread(self._backup.open, file) as partial:
            if not self.reconnections:
                self.resumed_at += partial.size
            self._arrived(manifest, partial.size)
            try:
                async with trio.open_nursery() as nursery:
                    send_channel, receive_channel = trio.open_memory_channel[bytes](0)
                    nursery.start_soon(_fetch, client, manifest.uuid, file, partial.size, send_channel)
                    async for piece in receive_channel:
                        await self._in_thread(partial.append, piece)
                        self._arrived(manifest, len(piece))
            except BaseExceptionGroup as group:
                raise_the_one(group)
            await self._in_thread(partial.finish)

    def _arrived(self, manifest: Manifest, size: int) -> None:
        self.done += size
        self._report(self.done, manifest.size)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return await trio.to_thread.run_sync(function, *arguments)
        except OSError as exc:
            raise BackupError(f"can't write to {self._backup.path}: {explain(exc)}; run this again to resume the backup") from exc


async def _fetch(client: Client, snapshot: str, file: ManifestFile, offset: int, pieces: trio.MemorySendChannel[bytes]) -> None:
    """Ask for the pieces of a file, each while the one before is being written."""
    with pieces:
        while offset < file.size:
            length = min(PIECE, file.size - offset)
            request = FragmentRequest(id=file.id, offset=offset, length=length, checksum_length=CHECKSUM_LENGTH)
            try:
                piece = await client.fragment(snapshot, request)
            except ChecksumError as exc:
                raise ConnectionLostError(str(exc)) from exc  # ask for it again
            await pieces.send(piece)
            offset += length
