"""Crashes of the machine: what LMDB writes is recorded, and any part of what was not synced may be missing on the disk.

A disk that is told to sync has everything that was written before. Of what was written since, the system may have written back any
pages, in any order, each as it was at any moment meanwhile. A page is written whole or not at all. The file of the session is
replaced by a rename that is synced: it is there, or the one before is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import lmdb

from trio_spool.engine import MARKER, Delete, EngineOptions, Get, Store
from trio_spool.engine.lmdb._engine import LmdbEngine
from trio_spool.engine.lmdb._session import SESSION

PAGE = 4096
Contents = dict[bytes, bytes]


@attrs.frozen
class Crash:
    """What is on the disk after a crash.

    Attributes:
        database: The bytes of the database.
        session: The file of the session, or None.
        synced: The sequence number of the last mutation that must not be lost.
    """

    database: bytes
    session: bytes | None
    synced: int

    def put(self, path: Path, marker: bytes) -> None:
        """Make a data directory of it."""
        path.mkdir()
        (path / MARKER).write_bytes(marker)
        (path / "data.mdb").write_bytes(self.database)
        if self.session is not None:
            (path / SESSION).write_bytes(self.session)


class Recorder:
    """Records what an environment writes and syncs.

    Attributes:
        events: Pages that were written (number and content), None for a sync, the file of the session, and sequence numbers, in
            the order in which they happened.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._image = b""
        self._session: bytes | None = None
        self.events: list[Any] = []

    def open_environment(self, *arguments: Any, **options: Any) -> Any:
        return _Environment(lmdb.open(*arguments, **options), self)

    def look(self, *, meta_last: bool = False) -> None:
        """Record what has changed in the files."""
        image = (self._path / "data.mdb").read_bytes()
        changed = [
            (number, image[number * PAGE : (number + 1) * PAGE])
            for number in range(len(image) // PAGE)
            if image[number * PAGE : (number + 1) * PAGE] != self._image[number * PAGE : (number + 1) * PAGE]
        ]
        self._image = image
        self.events += [page for page in changed if page[0] > 1]
        if meta_last:  # LMDB syncs the pages, and then writes and syncs a meta page
            self.events.append(None)
        self.events += [page for page in changed if page[0] <= 1]
        if meta_last:
            self.events.append(None)
        self.look_at_session()

    def look_at_session(self) -> None:
        file = self._path / SESSION
        session = file.read_bytes() if file.exists() else None
        if session != self._session:
            self._session = session
            self.events.append((SESSION, session))

    def committed(self) -> None:
        self.look(meta_last=self._durable)

    def synced(self) -> None:
        self.look()
        self.events.append(None)

    def crashes(self, seed: int) -> Iterator[Crash]:
        """Yield a crash after each event, in which chance decides what was written back."""
        chance = random.Random(seed)
        disk: dict[int, bytes] = {}
        unsynced: dict[int, list[bytes]] = {}
        session: bytes | None = None
        seqno = promised = noted = 0
        for event in self.events:
            if event is None:
                for number, versions in unsynced.items():
                    disk[number] = versions[-1]
                unsynced.clear()
                promised = seqno
            elif event[0] == SESSION:
                session = event[1]
                noted = promised
            elif event[0] == "seqno":
                seqno = event[1]
                if self._durable:
                    promised = noted = seqno
            else:
                unsynced.setdefault(event[0], []).append(event[1])
            yield Crash(self._mix(chance, disk, unsynced), session, noted)

    @staticmethod
    def _mix(chance: random.Random, disk: dict[int, bytes], unsynced: dict[int, list[bytes]]) -> bytes:
        pages = dict(disk)
        likely = chance.choice([0.1, 0.5, 0.9])
        for number, versions in unsynced.items():
            if chance.random() < likely:
                pages[number] = chance.choice(versions)
        return b"".join(pages.get(number, bytes(PAGE)) for number in range(max(pages, default=-1) + 1))


class _Environment:
    def __init__(self, env: lmdb.Environment, recorder: Recorder) -> None:
        self._env = env
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def begin(self, *, write: bool = False, **options: Any) -> Any:
        transaction = self._env.begin(write=write, **options)
        if write:
            self._recorder.look_at_session()
            return _WriteTransaction(transaction, self._recorder)
        return transaction

    def sync(self, force: bool) -> None:
        self._env.sync(force)
        self._recorder.synced()


class _WriteTransaction:
    def __init__(self, transaction: lmdb.Transaction[bytes], recorder: Recorder) -> None:
        self._transaction = transaction
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def commit(self) -> None:
        self._transaction.commit()
        self._recorder.committed()


def contents_of(engine: LmdbEngine) -> Contents:
    with engine.snapshot() as snapshot:
        return {key: value for key, value, *_ in snapshot.records()}


def open_at(path: Path, fsync: str, boot: str | None, recorder: Recorder | None = None) -> LmdbEngine:
    """Open an engine in a boot of the machine. It syncs when a test says so."""
    return LmdbEngine(
        EngineOptions(directory=path, fsync=fsync, expiry_interval=3600, map_size=1 << 24),
        open_environment=lmdb.open if recorder is None else recorder.open_environment,
        sync_interval=3600,
        read_boot=lambda: boot,
    )


def record(path: Path, fsync: str, commits: int, seed: int) -> tuple[Recorder, dict[int, Contents]]:
    """Use a database until the machine crashes. Return what was written, and what there was at each sequence number."""
    chance = random.Random(seed)
    recorder = Recorder(path, durable=fsync == "always")
    engine = open_at(path, fsync, "first", recorder)
    recorder.look()
    model: Contents = {}
    models = {0: model}
    for _ in range(commits):
        model = dict(model)
        operations: list[Any] = []
        for _ in range(chance.choice([1, 5, 30])):
            key = b"k%03d" % chance.randrange(150)
            if chance.random() < 0.2 and key in model:
                operations.append(Delete(key))
                del model[key]
            else:
                model[key] = chance.randbytes(chance.choice([10, 100, 1000, 9000]))
                operations.append(Store(key, model[key]))
        engine.storage._sync_interval = chance.choice([3600, 3600, 3600, 0])
        engine.execute(operations)
        engine.execute([Get(b"k")])  # behind a sync
        recorder.events.append(("seqno", engine.seqno))
        recorder.look_at_session()
        models[engine.seqno] = model
    events = list(recorder.events)  # up to the crash
    engine.close()
    recorder.events = events
    return recorder, models
