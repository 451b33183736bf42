"""What a data directory says about the run that uses it, or was the last to use it, so that a crash of the machine is noticed.

With ``--fsync always``, every commit is whole on the disk before the next one begins. With the other policies, the system writes
pages when and in which order it likes, so a crash of the machine leaves a mixture of old and new pages: of the states that were
tried, most are damaged, and some of those open without an error. A crash of the process alone leaves nothing half written, since
the system still has all of it.

So while a directory is used with ``everysec`` or ``no``, it has a file that names the *boot* of the machine, and that is removed
when the directory is closed and synced. Whoever finds the file of another boot knows that the machine has crashed meanwhile:

- With ``no``, nothing is known about the database, and it is refused.
- With ``everysec``, the file has the meta pages of the last commit that was synced, the *checkpoint*. They are written back, and
  the database is what it was then. This holds as long as no page of that commit has been written over since: a read transaction
  on it keeps LMDB from doing that until the next checkpoint is on the disk.

A file that was written before a sync failed says so. After that, it is the same as if the machine had crashed.

The file is JSON, with a checksum. It has room for two notes. A note replaces the whole file; where the disk is too full for another
file, it takes the place of the older note instead, so that a run can go on, and the next one can begin. A checkpoint belongs to one
database: its root pages have a checksum as well, which must still be right when the meta pages are written back, since somebody may
have put another database there.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import attrs
from google_crc32c import extend
from google_crc32c import value as crc32c

from ..._files import explain, open_replacement, sync_directory
from .._errors import DataDirectoryError
from ._database import DATABASE, READER_TABLE

SESSION: Final = "trio-spool.session"
# The bytes of a meta page that mean anything: see `_file`.
_META: Final = 152
_ROOTS = struct.Struct("<80xQ40xQ16x")  # the roots of the list of free pages and of the main database
_PAGE_SIZE = struct.Struct("<40xL108x")
_TRANSACTION = struct.Struct("<144xQ")
_NOWHERE: Final = (1 << 64) - 1
# Bytes for one note: what a system writes at least, so that a crash in the middle of one leaves the other. A note has about 900.
_PLACE: Final = 4096
# Errors of writing a note after which the note before it holds, and another try is worth it.
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

ReadBoot = Callable[[], "str | None"]


def boot_id() -> str | None:
    """Return a name of this boot of the machine; None if the system has no such name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or None
    except OSError:
        return _boot_session()


def _boot_session() -> str | None:
    """Return macOS's name of this boot."""
    import ctypes

    buffer, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    try:
        found = ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(size), None, ctypes.c_size_t(0))
    except (OSError, AttributeError):
        return None
    return buffer.value.decode("ascii", "replace") if found == 0 else None


@attrs.frozen
class Checkpoint:
    """A commit that is on the disk.

    Attributes:
        metas: The beginnings of both meta pages.
        page_size: The size of a page in bytes.
        roots: The CRC32-C of the root pages.
        time: When it was synced: a Unix time.
    """

    metas: tuple[bytes, bytes]
    page_size: int
    roots: int
    time: float

    @property
    def transaction(self) -> int:
        """The number of the transaction."""
        return max(int(_TRANSACTION.unpack(meta)[0]) for meta in self.metas)


@attrs.frozen
class Session:
    """One run that uses a data directory.

    Attributes:
        fsync: Its policy: ``everysec`` or ``no``.
        boot: The boot of the machine, if it is known.
        checkpoint: The last checkpoint.
        failed: Whether a sync has failed.
    """

    fsync: str
    boot: str | None
    checkpoint: Checkpoint | None = None
    failed: bool = False

    def write(self, path: Path) -> None:
        """Write it into a data directory, durably.

        Raises:
            OSError: It can't be written. What was there before is still there.
        """
        file = path / SESSION
        try:
            with open_replacement(file, partial=path / (SESSION + ".new")) as new:
                new.write(self._pack(0) + _EMPTY)
        except OSError as exc:
            if exc.errno not in FULL or not file.exists():
                raise
            with file.open("r+b", buffering=0) as old:
                self._overwrite(old, exc)

    def _pack(self, number: int) -> bytes:
        content: dict[str, Any] = {"number": number, "fsync": self.fsync, "boot": self.boot, "failed": self.failed}
        if self.checkpoint is not None:
            content["checkpoint"] = {**attrs.asdict(self.checkpoint), "metas": [meta.hex() for meta in self.checkpoint.metas]}
        text = json.dumps(content)
        return json.dumps({"session": text, "crc32c": crc32c(text.encode())}).encode().ljust(_PLACE - 1) + b"\n"

    def _overwrite(self, file: IO[bytes], full: OSError) -> None:
        """Write it into a file for which there is no replacement, in the place of the older note.

        Args:
            file: The file.
            full: Why it can't be replaced.
        """
        content = file.read(2 * _PLACE + 1)
        notes = _notes(content)
        if not notes or len(content) != 2 * _PLACE:
            raise full
        last = max(notes)
        note = self._pack(last + 1)
        if os.pwrite(file.fileno(), note, _PLACE - notes[last][0]) != len(note):
            raise full
        try:
            os.fsync(file.fileno())
        except OSError as exc:
            # Nobody knows which of the notes is on the disk, so this can't be taken for a note that there was no room for.
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from exc


_EMPTY: Final = b"\n".rjust(_PLACE)


def _notes(content: bytes) -> dict[int, tuple[int, Session]]:
    """Return the whole notes of a file by their numbers, and where each of them begins."""
    notes = {}
    for start in (0, _PLACE):
        try:
            outer = json.loads(content[start : start + _PLACE])
            text = outer["session"]
            if crc32c(text.encode()) == outer["crc32c"]:
                fields = json.loads(text)
                number = fields.pop("number", 0)
                notes[number] = start, _unpack(**fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return notes


def _unpack(*, checkpoint: dict[str, Any] | None = None, **fields: Any) -> Session:
    if checkpoint is None:
        return Session(**fields)
    first, second = map(bytes.fromhex, checkpoint["metas"])
    return Session(checkpoint=Checkpoint(**{**checkpoint, "metas": (first, second)}), **fields)


def read_session(path: Path) -> Session | None:
    """Read what a data directory says about its last run; None if that has ended well.

    Raises:
        DataDirectoryError: It can't be read.
    """
    file = path / SESSION
    try:
        with file.open("rb") as opened:
            notes = _notes(opened.read(2 * _PLACE))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise DataDirectoryError(f"can't read {file}: {explain(exc)}; check who owns it") from exc
    if notes:
        return notes[max(notes)][1]
    raise DataDirectoryError(
        f"{file} is damaged, so nobody knows whether the database is whole; restore a backup, "
        f"or let trio-spool check --accept {path} look at it"
    )


def remove_session(path: Path) -> None:
    """Note that a run has ended well.

    Raises:
        OSError: It can't be noted.
    """
    try:
        (path / SESSION).unlink()
    except FileNotFoundError:
        return
    sync_directory(path)


def take_checkpoint(path: Path, now: float) -> Checkpoint:
    """Return the last commit of a database as a checkpoint. Nobody commits meanwhile, and it is to be synced before it is used.

    Raises:
        OSError: The database can't be read.
    """
    with (path / DATABASE).open("rb", buffering=0) as file:
        descriptor = file.fileno()
        first = os.pread(descriptor, _META, 0)
        page_size = _PAGE_SIZE.unpack(first)[0]
        metas = (first, os.pread(descriptor, _META, page_size))
        return Checkpoint(metas, page_size, _checksum_of_roots(descriptor, metas, page_size), now)


def _checksum_of_roots(descriptor: int, metas: tuple[bytes, bytes], page_size: int) -> int:
    last = max(metas, key=lambda meta: int(_TRANSACTION.unpack(meta)[0]))
    crc = 0
    for root in _ROOTS.unpack(last):
        if root != _NOWHERE:
            crc = extend(crc, os.pread(descriptor, page_size, root * page_size))
    return int(crc)


def go_back(path: Path, checkpoint: Checkpoint) -> None:
    """Make a database what it was at a checkpoint, durably.

    Raises:
        DataDirectoryError: It is not the database of the checkpoint.
        OSError: It can't be written.
    """
    with (path / DATABASE).open("r+b", buffering=0) as file:
        descriptor = file.fileno()
        if _checksum_of_roots(descriptor, checkpoint.metas, checkpoint.page_size) != checkpoint.roots:
            raise DataDirectoryError(
                f"the machine has crashed, and {path / DATABASE} is not the database that {SESSION} belongs to, or is damaged; "
                f"restore a backup, or let trio-spool check --accept {path} look at it"
            )
        for number, meta in enumerate(checkpoint.metas):
            file.seek(number * checkpoint.page_size)
            file.write(meta)
        os.fsync(descriptor)
    (path / READER_TABLE).unlink(missing_ok=True)  # it says which meta page is the last one, if anybody else still has it open


@attrs.frozen
class LastRun:
    """How the last run in a data directory has ended.

    Attributes:
        trouble: Why nobody knows what the database is, or what will be lost; None if it has ended well, or only its process was
            killed.
        checkpoint: What the next start goes back to; None if it goes back to nothing.
    """

    trouble: str | None = None
    checkpoint: Checkpoint | None = None


def find_last_run(path: Path, read_boot: ReadBoot = boot_id) -> LastRun:
    """Return how the last run in a data directory has ended, which nobody uses now."""
    try:
        session = read_session(path)
    except DataDirectoryError as exc:
        return LastRun(str(exc))
    if session is None:
        return LastRun()
    boot = read_boot()
    if not session.failed and (boot is None or session.boot is None or boot == session.boot):
        return LastRun()
    why = "a sync failed" if session.failed else "the machine crashed"
    return LastRun(f"{why} while it was used with --fsync {session.fsync}", session.checkpoint)
