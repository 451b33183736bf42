"""Backups: copying a snapshot of a server's files to this machine, in a way that can be interrupted and resumed at any moment.

While a backup is incomplete, its directory has the manifest as ``backup.json.partial``, and files named ``NAME.partial``. A file
gets its final name once its SHA-512 is that of the manifest. The last file is the one that makes the directory a data directory.
After it, ``backup.json`` gets its name.
"""

from __future__ import annotations

import hashlib
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import trio

from .._core import raise_the_one
from .._files import explain, replace_durably, sync_directory, sync_file
from ..mcbp import Feature, FragmentRequest
from ._client import Client
from ._errors import BackupError, ChecksumError, ClientError, ConnectionLostError, NotFoundError, ServerError
from ._files import Manifest, ManifestFile, parse_manifest
from ._open import open_client

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

MANIFEST = "backup.json"
PARTIAL = ".partial"
# The numbers below were picked, not measured.
#
# The size of the fragments to ask for, and of the pieces that have a checksum each, in bytes.
PIECE = 4 * 1024 * 1024
CHECKSUM_LENGTH = 64 * 1024
# How many connections in a row may break without a byte of progress, and how long to wait between them, in seconds.
ATTEMPTS = 5
RETRY_SECONDS = 1.0
# How long to wait for a response, in seconds.
SILENCE = 60.0
# How long to wait for a snapshot, in seconds: the server copies its whole database first.
PREPARE_SECONDS = 3600.0

Report = Callable[[int, int], object]


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
        retry_seconds: How long to wait before connecting again, after a connection that made no progress.

    Raises:
        BackupError: The directory can't be used, or a file did not arrive as the server described it.
        ClientError: The server can't make a snapshot, or can't be reached any more.
    """
    transfer = _Transfer(directory, report)
    try:
        await trio.to_thread.run_sync(transfer.begin_in_thread)
        return await _transfer_until_complete(
            transfer, host, port, retry_seconds, username=username, password=password, bucket=bucket, tls=tls
        )
    except BaseException:
        transfer.remove_empty()
        raise


async def _transfer_until_complete(transfer: _Transfer, host: str, port: int, retry_seconds: float, **login: Any) -> BackupResult:
    """Transfer everything, and connect again when the connection breaks."""
    manifest = transfer.manifest
    failures = 0
    while True:
        before = transfer.done
        try:
            async with open_client(host, port, **login) as client:
                manifest = await transfer.run(client, manifest)
            return BackupResult(manifest, transfer.resumed_at, transfer.reconnections)
        except (ConnectionLostError, trio.TooSlowError) as exc:
            failures = 0 if transfer.done > before else failures + 1
            if failures >= ATTEMPTS or not transfer.reached:
                if isinstance(exc, ClientError):
                    raise
                raise ConnectionLostError(f"the server sent nothing for {SILENCE:g} seconds") from exc
            transfer.reconnections += 1
            manifest = transfer.manifest
            await trio.sleep(retry_seconds if failures else 0)


class _Transfer:
    """The state of one call of `backup_server`."""

    def __init__(self, directory: Path, report: Report) -> None:
        self._directory = directory
        self._report = report
        self._made: list[Path] = []  # the directories that this has made, the deepest first
        self.manifest: Manifest | None = None
        self.done = 0  # the number of bytes that are here
        self.resumed_at = 0
        self.reconnections = 0
        self.reached = False  # whether the server has ever answered

    # In worker threads

    def begin_in_thread(self) -> None:
        """Check the directory, and read the manifest of an interrupted backup."""
        directory = self._directory
        try:
            self._made = [path for path in (directory, *directory.parents) if not path.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in directory.iterdir()}
            if MANIFEST in names:
                raise BackupError(f"{directory} has a complete backup already; choose another directory, or remove this one")
            if MANIFEST + PARTIAL in names:
                self.manifest = _read_manifest(directory / (MANIFEST + PARTIAL), "remove the directory, and back up again")
                return
        except (FileExistsError, NotADirectoryError):
            raise BackupError(f"{directory} is not a directory") from None
        except OSError as exc:
            raise BackupError(f"can't use {directory}: {explain(exc)}") from exc
        if names:
            raise BackupError(f"{directory} is not empty, and holds no interrupted backup; choose an empty directory")

    def _keep_manifest_in_thread(self, manifest: Manifest) -> None:
        if self.manifest is not None:  # it belongs to a snapshot that the server no longer has
            for file in self.manifest.files:
                (self._directory / file.path).unlink(missing_ok=True)
                (self._directory / (file.path + PARTIAL)).unlink(missing_ok=True)
        new = self._directory / (MANIFEST + PARTIAL)
        try:
            with new.open("w") as out:
                out.write(manifest.to_json() + "\n")
                sync_file(out)
        except OSError:
            new.unlink(missing_ok=True)  # half of it is of no use
            raise

    def _open_in_thread(self, file: ManifestFile) -> tuple[BinaryIO, Any]:
        """Open the part of a file that is here, and return it with its digest so far."""
        out = (self._directory / (file.path + PARTIAL)).open("a+b")
        digest = hashlib.sha512()
        if out.tell() > file.size:
            out.truncate(0)
        out.seek(0)
        while piece := out.read(PIECE):
            digest.update(piece)
        return out, digest

    @staticmethod
    def _append_in_thread(out: BinaryIO, digest: Any, piece: bytes) -> None:
        out.write(piece)
        digest.update(piece)

    def _finish_in_thread(self, file: ManifestFile, out: BinaryIO, digest: Any) -> None:
        partial = self._directory / (file.path + PARTIAL)
        if file.sha512 is not None and digest.hexdigest() != file.sha512:
            out.close()
            partial.unlink()
            raise BackupError(f"{file.path} did not arrive as the server sent it: its SHA-512 differs; run this again")
        sync_file(out)
        out.close()
        partial.replace(self._directory / file.path)

    def _complete_in_thread(self) -> None:
        sync_directory(self._directory)
        replace_durably(self._directory / (MANIFEST + PARTIAL), self._directory / MANIFEST)

    # In the event loop

    def remove_empty(self) -> None:
        """Remove the directories that were made, if they are empty. This is too quick to need a thread."""
        with suppress(OSError):
            for path in self._made:
                path.rmdir()

    async def run(self, client: Client, manifest: Manifest | None) -> Manifest:
        """Copy the files that are missing, with one connection."""
        with trio.fail_after(SILENCE):
            try:
                await client.hello("trio-spool backup", (Feature.XERROR, Feature.JSON))
            except ServerError:
                pass  # a server without HELLO: its errors say less
        self.reached = True
        if manifest is None or not await self._still_there(client, manifest):
            with trio.fail_after(PREPARE_SECONDS):
                manifest = await client.prepare_snapshot()
            await self._in_thread(self._keep_manifest_in_thread, manifest)
            self.done = 0
        self.manifest = manifest
        self.done = 0
        for file in manifest.files:
            await self._copy_file(client, manifest, file)
        await self._in_thread(self._complete_in_thread)
        try:
            with trio.move_on_after(SILENCE):
                await client.release_snapshot(manifest.uuid)
        except ClientError:
            pass  # the server removes a snapshot that is not used for a while
        return manifest

    async def _still_there(self, client: Client, manifest: Manifest) -> bool:
        try:
            with trio.fail_after(SILENCE):
                await client.fragment(manifest.uuid, FragmentRequest(id=manifest.files[0].id, offset=0, length=0))
        except NotFoundError:
            return False
        return True

    async def _copy_file(self, client: Client, manifest: Manifest, file: ManifestFile) -> None:
        path = self._directory / file.path
        if path.exists():
            self._arrived(manifest, file.size)
            return
        out, digest = await self._in_thread(self._open_in_thread, file)
        with out:
            offset = out.tell()
            if not self.reconnections:
                self.resumed_at += offset
            self._arrived(manifest, offset)
            try:
                async with trio.open_nursery() as nursery:
                    send_channel, receive_channel = trio.open_memory_channel[bytes](0)
                    nursery.start_soon(_fetch, client, manifest.uuid, file, offset, send_channel)
                    async for piece in receive_channel:
                        await self._in_thread(self._append_in_thread, out, digest, piece)
                        self._arrived(manifest, len(piece))
            except BaseExceptionGroup as group:
                raise_the_one(group)
            await self._in_thread(self._finish_in_thread, file, out, digest)

    def _arrived(self, manifest: Manifest, size: int) -> None:
        self.done += size
        self._report(self.done, manifest.size)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await trio.to_thread.run_sync(function, *arguments)
        except OSError as exc:
            raise BackupError(f"can't write to {self._directory}: {explain(exc)}; run this again to resume the backup") from exc


async def _fetch(client: Client, snapshot: str, file: ManifestFile, offset: int, pieces: trio.MemorySendChannel[bytes]) -> None:
    """Ask for the pieces of a file, each while the one before is being written."""
    with pieces:
        while offset < file.size:
            length = min(PIECE, file.size - offset)
            request = FragmentRequest(id=file.id, offset=offset, length=length, checksum_length=CHECKSUM_LENGTH)
            with trio.fail_after(SILENCE):
                try:
                    piece = await client.fragment(snapshot, request)
                except ChecksumError as exc:
                    raise ConnectionLostError(str(exc)) from exc  # ask for it again
            await pieces.send(piece)
            offset += length


def _read_manifest(path: Path, advice: str) -> Manifest:
    try:
        return parse_manifest(path.read_bytes())
    except ClientError:
        raise BackupError(f"{path} is damaged: it is not the manifest of a backup; {advice}") from None


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a complete backup.

    Args:
        directory: The directory of the backup.

    Raises:
        BackupError: The directory has no complete backup, or its manifest is damaged.
    """
    try:
        return _read_manifest(directory / MANIFEST, "the files can't be verified without it: put it back, or back up again")
    except FileNotFoundError:
        if (directory / (MANIFEST + PARTIAL)).exists():
            raise BackupError(f"the backup in {directory} is not complete; run the backup again to resume it") from None
        raise BackupError(f"{directory} has no {MANIFEST}: it is not a backup") from None
    except OSError as exc:
        raise BackupError(f"can't read {directory / MANIFEST}: {explain(exc)}") from exc
