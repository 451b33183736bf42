"""What is done for a machine that may lose its power, beyond what LMDB does: see `_session`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import lmdb

from ..._files import explain
from .._errors import DataDirectoryError
from ._recovery import name_database
from ._session import (
    FULL,
    ReadBoot,
    Session,
    boot_id,
    go_back,
    read_session,
    remove_session,
    take_checkpoint,
)

_log = logging.getLogger("trio_spool.engine")

# Bytes by which the file may grow between two checkpoints: what is held for one can't be used again. Picked, not measured.
MAX_GROWTH: Final = 64 * 1024 * 1024


class Held(Protocol):
    """A transaction that can be taken away: `Reading`."""

    lock: threading.Lock

    def begin(self) -> object:
        """Begin the transaction. The lock must be held."""

    def end(self) -> None:
        """End it. The lock must be held."""


class PowerGuard:
    """The session of one run in a data directory. Only one thread at a time uses it.

    Args:
        path: The data directory, which is locked.
        fsync: The policy.
        read_boot: Returns the name of this boot.

    Attributes:
        max_written: Bytes that may be written between two checkpoints, about; 0 for no such limit. Any thread may change it.
    """

    def __init__(self, path: Path, fsync: str, read_boot: ReadBoot = boot_id) -> None:
        self._path = path
        self._fsync = fsync
        self._boot = read_boot()
        self._session: Session | None = None
        self._unsynced = False  # whether the run before left what is not synced
        self._begun = False
        self._held: Held | None = None  # reads the last checkpoint
        self._last_page = 0  # of the file, at the last checkpoint
        self._page_size = 0
        self.max_written = 0
        self._written = 0  # pages, since the last checkpoint

    def recover(self) -> None:
        """Make a database, which is not open yet, what the last run promised.

        Raises:
            DataDirectoryError: Nobody knows what it is.
        """
        session = read_session(self._path)
        if session is None:
            return
        same_boot = self._boot is None or session.boot is None or self._boot == session.boot
        if same_boot and not session.failed:
            self._unsynced = True
            return
        why = "a sync of the database failed" if session.failed else "the machine crashed"
        if session.checkpoint is None:
            raise DataDirectoryError(
                f"{why} while {self._path} was used with --fsync {session.fsync}, so nobody knows which of its data are whole; "
                f"restore a backup, or let trio-spool check --accept {self._path} look at it"
            )
        try:
            go_back(self._path, session.checkpoint)
        except OSError as exc:
            raise DataDirectoryError(
                f"can't make the database in {self._path} what it was before {why}: {explain(exc)}; correct this, and start again"
            ) from exc
        synced = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session.checkpoint.time))
        _log.warning(
            "%s while %s was used with --fsync %s: what was written after %s is lost", why, self._path, session.fsync, synced
        )

    @property
    def begun(self) -> bool:
        """Whether the run has begun."""
        return self._begun

    def begin(self, env: lmdb.Environment, make_reading: Callable[[], Held]) -> None:
        """Begin the run, with the database open and nothing written to it.

        Args:
            env: The environment.
            make_reading: Makes readings, for checkpoints.

        Raises:
            OSError: It can't be noted.
            lmdb.Error: LMDB failed.
        """
        if self._unsynced:
            env.sync(True)
        if self._fsync == "always":
            remove_session(self._path)
        elif self._fsync == "no":
            self._session = Session("no", self._boot)
            self._session.write(self._path)
        else:
            self.checkpoint(env, make_reading())
            if name_database(env):
                self.checkpoint(env, make_reading())
        self._begun = True

    def wrote(self, pages: int) -> None:
        """Note about how many pages a commit has replaced."""
        self._written += pages

    def has_grown(self, env: lmdb.Environment) -> bool:
        """Return whether the file has grown by so much since the last checkpoint that another one is due, or soon will have."""
        if 0 < self.max_written <= self._written * self._page_size:
            return True
        return bool((env.info()["last_pgno"] - self._last_page) * self._page_size >= MAX_GROWTH)

    def checkpoint(self, env: lmdb.Environment, reading: Held) -> bool:
        """Sync what was committed, note that, and keep it from being written over.

        Args:
            env: The environment. Nobody commits meanwhile.
            reading: A reading, to read the commit until the next checkpoint.

        Returns:
            Whether it is noted. If not, there was no room for that, and the checkpoint before still holds.

        Raises:
            OSError: It can't be noted.
            lmdb.Error: The sync failed.
        """
        with reading.lock:
            reading.begin()
        try:
            checkpoint = take_checkpoint(self._path, time.time())
            env.sync(True)
            self._written = 0
            self._last_page, self._page_size = env.info()["last_pgno"], checkpoint.page_size
            session = Session("everysec", self._boot, checkpoint)
            session.write(self._path)
        except BaseException as exc:
            with reading.lock:
                reading.end()
            if isinstance(exc, OSError) and exc.errno in FULL and self._session is not None:
                return False
            raise
        self._session = session
        held, self._held = self._held, reading
        if held is not None:
            with held.lock:
                held.end()
        return True

    def end(self, *, failed: bool) -> None:
        """End the run, with the database synced and closed.

        Args:
            failed: Whether a sync has failed. Then the next run must know.

        Raises:
            OSError: It can't be noted.
        """
        if not failed:
            remove_session(self._path)
        elif self._session is not None:
            Session(self._fsync, self._boot, self._session.checkpoint, failed=True).write(self._path)
