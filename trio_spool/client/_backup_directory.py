"""The directory of a backup. Blocking code: while a server sends, everything here runs in worker threads.

While a backup is incomplete, its directory has the manifest as ``backup.json.partial``, and files named ``NAME.partial``. A file
gets its final name once its SHA-512 is that of the manifest. The last file is the one that makes the directory a data directory.
After it, ``backup.json`` gets its name.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .._files import (
    explain,
    make_directories,
    open_regular,
    read_bounded,
    replace_durably,
    sync_directory,
    sync_file,
)
from .._formats import BACKUP_BUCKETS, BACKUP_LIST
from ._errors import BackupError, ClientError
from ._files import MANIFEST, MAX_MANIFEST, PARTIAL, Manifest, ManifestFile, parse_manifest

# The number of bytes of a partial file to read at once: picked, not measured.
_READ_SIZE = 4 * 1024 * 1024


class PartialFile:
    """A file of a backup of which a part, or nothing, is here.

    Args:
        directory: The directory of the backup.
        file: The file, as the manifest describes it.

    Attributes:
        size: The number of bytes that are here.

    Raises:
        OSError: The file can't be opened, is not a regular file, or its part can't be read.
    """

    def __init__(self, directory: Path, file: ManifestFile) -> None:
        self._path = directory / (file.path + PARTIAL)
        self._final = directory / file.path
        self._file = file
        self._digest = hashlib.sha512()
        self._out = os.fdopen(open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b")
        if self._out.tell() > file.size:
            self._out.truncate(0)
        self._out.seek(0)
        while piece := self._out.read(_READ_SIZE):
            self._digest.update(piece)
        self.size = self._out.tell()

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._out.close()

    def append(self, piece: bytes) -> None:
        """Append bytes to the part that is here."""
        self._out.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self) -> None:
        """Check the complete file, and give it its final name.

        Raises:
            BackupError: The SHA-512 differs from that in the manifest. The file is removed.
            OSError: The file can't be written.
        """
        if self._file.sha512 is not None and self._digest.hexdigest() != self._file.sha512:
            self._out.close()
            self._path.unlink()
            raise BackupError(f"{self._file.path} did not arrive as the server sent it: its SHA-512 differs; run this again")
        sync_file(self._out)
        self._out.close()
        self._path.replace(self._final)


class BackupDirectory:
    """The directory of a backup that is made or resumed.

    Args:
        path: The path. The directory is made if it is missing.

    Attributes:
        path: The path.
        manifest: The manifest of the interrupted backup in it, or None.

    Raises:
        BackupError: The directory can't be used: see the message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest | None = None
        self._made: list[Path] = []  # the directories that this has made, the deepest first
        try:
            self._begin()
        except BaseException:
            self.remove_empty()
            raise

    def _begin(self) -> None:
        path = self.path
        try:
            self._made = [one for one in (path, *path.parents) if not one.exists()]
            make_directories(path)
            names = {one.name for one in path.iterdir()}
            if MANIFEST in names:
                raise BackupError(f"{path} has a complete backup already; choose another directory, or remove this one")
            if MANIFEST + PARTIAL in names:
                self.manifest = _read_manifest(path / (MANIFEST + PARTIAL), "remove the directory, and back up again")
                return
        except (FileExistsError, NotADirectoryError):
            raise BackupError(f"{path} is not a directory") from None
        except OSError as exc:
            raise BackupError(f"can't use {path}: {explain(exc)}") from exc
        if names - {BACKUP_BUCKETS, BACKUP_LIST}:  # an interrupted backup may have other buckets already
            raise BackupError(f"{path} is not empty, and holds no interrupted backup; choose an empty directory")

    def keep_manifest(self, manifest: Manifest) -> None:
        """Store the manifest of the snapshot that is copied now, and remove the files of an earlier snapshot.

        Raises:
            OSError: The manifest can't be written.
        """
        if self.manifest is not None:
            for file in self.manifest.files:
                (self.path / file.path).unlink(missing_ok=True)
                (self.path / (file.path + PARTIAL)).unlink(missing_ok=True)
        new = self.path / (MANIFEST + PARTIAL)
        try:
            with open(open_regular(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as out:
                out.write(manifest.to_json() + "\n")
                sync_file(out)
        except OSError:
            new.unlink(missing_ok=True)  # half of a manifest is of no use
            raise
        self.manifest = manifest

    def has(self, file: ManifestFile) -> bool:
        """Return whether a file is complete.

        Raises:
            BackupError: Something else has its name: this never makes a symbolic link, nor a file of another size.
            OSError: The directory can't be read.
        """
        path = self.path / file.path
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
            raise BackupError(
                f"{path} is not the file of {file.size} bytes that was copied; remove the directory, and back up again"
            )
        return True

    def open(self, file: ManifestFile) -> PartialFile:
        """Open a file that is not complete.

        Raises:
            OSError: The file can't be opened, or its part can't be read.
        """
        return PartialFile(self.path, file)

    def complete(self) -> None:
        """Make the backup complete: all its files are.

        Raises:
            OSError: The manifest can't be renamed, or the directory can't be synced.
        """
        sync_directory(self.path)
        replace_durably(self.path / (MANIFEST + PARTIAL), self.path / MANIFEST)

    def remove_empty(self) -> None:
        """Remove the directories that were made, if they are empty. This is too quick to need a thread."""
        with suppress(OSError):
            for path in self._made:
                path.rmdir()


def _read_manifest(path: Path, advice: str) -> Manifest:
    try:
        return parse_manifest(read_bounded(path, MAX_MANIFEST, regular=True))
    except ClientError:
        raise BackupError(f"{path} is damaged: it is not the manifest of a backup; {advice}") from None


def check_backup_directory(directory: Path) -> None:
    """Check that a backup can be made or resumed in a directory. Nothing is made there.

    Raises:
        BackupError: It can't: see the message.
    """
    BackupDirectory(directory).remove_empty()


def is_complete_backup(directory: Path) -> bool:
    """Return whether a directory has a complete backup.

    Raises:
        BackupError: The directory can't be read.
    """
    try:
        return (directory / MANIFEST).exists()
    except OSError as exc:
        raise BackupError(f"can't use {directory}: {explain(exc)}") from exc


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
