"""Copying a snapshot of a server's files to this machine, so that it can be interrupted at any moment and gone on with.

While it is incomplete, a backup's directory has ``backup.json.partial``, which is the manifest, and files named ``NAME.partial``.
Each gets its name once its SHA-512 is the manifest's; the one that makes the directory a data directory is the last, and then
``backup.json``.
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
# What is asked for at once, and what each checksum is of, in bytes.
PIECE = 4 * 1024 * 1024
CHECKSUM_LENGTH = 64 * 1024
# A broken connection is tried again so many times without a byte of progress, after so many seconds.
ATTEMPTS = 5
RETRY_SECONDS = 1.0
# A server that sends nothing for so long is given up; it may first have to copy its database.
SILENCE = 60.0
PREPARE_SECONDS = 3600.0

Report = Callable[[int, int], object]


@attrs.frozen
class BackupResult:
    """What `backup_server` has done.

    Attributes:
        manifest: What the backup consists of.
        resumed_at: How many bytes were there already.
        reconnections: How many times the connection broke.
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
    """Copy a server's database into a directory, or go on with that.

    Args:
        host: Of the server.
        port: Of the server.
        directory: Where; made if it is missing. It must be empty, or what an interrupted `backup_server` has left.
        report: Is called with the bytes that are here, and all of them, as they arrive.
        username: As for `open_client`, like the others.
        password: Likewise.
        bucket: Whose database; by default that of the default bucket.
        tls: Likewise.
        retry_seconds: How long to wait before connecting again, after a connection that brought nothing.

    Raises:
        BackupError: The directory can't be used, or what arrived is not what the server has said.
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
    """Connect as often as it takes."""
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
                raise ConnectionLostError(f"the server has sent nothing for {SILENCE:g} seconds") from exc
            transfer.reconnections += 1
            manifest = transfer.manifest
            await trio.sleep(retry_seconds if failures else 0)


class _Transfer:
    """The state of one `backup_server`."""

    def __init__(self, directory: Path, report: Report) -> None:
        self._directory = directory
        self._report = report
        self._made: list[Path] = []  # directories, the deepest first
        self.manifest: Manifest | None = None
        self.done = 0  # bytes that are here
        self.resumed_at = 0
        self.reconnections = 0
        self.reached = False  # the server has answered

    # In worker threads

    def begin_in_thread(self) -> None:
        """Look at the directory, and take up the manifest that an interrupted backup has left."""
        directory = self._directory
        try:
            self._made = [path for path in (directory, *directory.parents) if not path.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in directory.iterdir()}
            if MANIFEST in names:
                raise BackupError(f"{directory} has a complete backup already; choose another directory, or remove it")
            if MANIFEST + PARTIAL in names:
                self.manifest = _read_manifest(directory / (MANIFEST + PARTIAL), "remove the directory, and begin anew")
                return
        except (FileExistsError, NotADirectoryError):
            raise BackupError(f"{directory} is not a directory") from None
        except OSError as exc:
            raise BackupError(f"can't use {directory}: {explain(exc)}") from exc
        if names:
            raise BackupError(f"{directory} is not empty, and has no interrupted backup; choose an empty directory")

    def _keep_manifest_in_thread(self, manifest: Manifest) -> None:
        if self.manifest is not None:  # of a snapshot that the server no longer has
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
        """Open the part of a file that is here, to be gone on with, and return its digest so far as well."""
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
            raise BackupError(f"what arrived of {file.path} has another SHA-512 than the server says; run this again")
        sync_file(out)
        out.close()
        partial.replace(self._directory / file.path)

    def _complete_in_thread(self) -> None:
        sync_directory(self._directory)
        replace_durably(self._directory / (MANIFEST + PARTIAL), self._directory / MANIFEST)

    # In the event loop

    def remove_empty(self) -> None:
        """Remove the directories that were made, as far as there is nothing in them; it takes no time worth a thread."""
        with suppress(OSError):
            for path in self._made:
                path.rmdir()

    async def run(self, client: Client, manifest: Manifest | None) -> Manifest:
        """Copy what is missing."""
        with trio.fail_after(SILENCE):
            try:
                await client.hello("trio-spool backup", (Feature.XERROR, Feature.JSON))
            except ServerError:
                pass  # then errors say less
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
            pass  # it will be removed when nobody has asked for it for a while
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
            raise BackupError(f"can't write to {self._directory}: {explain(exc)}; run this again to go on") from exc


async def _fetch(client: Client, snapshot: str, file: ManifestFile, offset: int, pieces: trio.MemorySendChannel[bytes]) -> None:
    """Ask for a file, piece by piece: one while the last one is being written."""
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
        raise BackupError(f"{path} is damaged: it is not what a backup writes; {advice}") from None


def read_manifest(directory: Path) -> Manifest:
    """Return what a complete backup consists of.

    Raises:
        BackupError: There is none, or it is damaged.
    """
    try:
        return _read_manifest(directory / MANIFEST, "without it, the files can't be verified: put it back, or back up anew")
    except FileNotFoundError:
        if (directory / (MANIFEST + PARTIAL)).exists():
            raise BackupError(f"the backup in {directory} is not complete; run the backup again to go on with it") from None
        raise BackupError(f"{directory} has no {MANIFEST}: it is not a backup") from None
    except OSError as exc:
        raise BackupError(f"can't read {directory / MANIFEST}: {explain(exc)}") from exc
