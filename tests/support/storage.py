"""Storage that fails or waits when a test says so: an environment of LMDB, the store below a writer, and the writer thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import lmdb

from trio_spool.engine import Engine
from trio_spool.engine._storage import Recovered, Storage, Transaction

PATIENCE = 20  # seconds after which a test takes a thread for stuck; picked


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that a thread does, without anything that could tell when."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


@contextmanager
def writer_held(engine: Engine) -> Iterator[None]:
    """Keep the writer thread busy, so that what is submitted within is one group."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(outcomes: object) -> None:
        reached.set()
        go_on.wait(PATIENCE)

    engine.submit([], hold)
    assert reached.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


class Faults:
    """What is to go wrong, and when.

    Attributes:
        calls: The names of the points that were passed, in order.
        hooks: Functions to call at a point, by its name.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hooks: dict[str, Callable[[], object]] = {}
        self._errors: dict[str, list[BaseException]] = {}

    def add(self, point: str, *errors: BaseException) -> None:
        """Raise errors, one each time, when a point is passed."""
        self._errors.setdefault(point, []).extend(errors)

    def at(self, point: str) -> None:
        """Pass a point."""
        self.calls.append(point)
        if point in self.hooks:
            self.hooks[point]()
        if self._errors.get(point):
            raise self._errors[point].pop(0)

    def open_environment(self, *arguments: Any, **options: Any) -> Any:
        """Do as `lmdb.open`: the points are named after its methods."""
        self.at("open")
        return _Environment(lmdb.open(*arguments, **options), self)


class _Environment:
    def __init__(self, env: lmdb.Environment, faults: Faults) -> None:
        self._env = env
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def begin(self, *, write: bool = False, **options: Any) -> Any:
        self._faults.at("begin" if write else "read")
        transaction = self._env.begin(write=write, **options)
        return _WriteTransaction(transaction, self._faults) if write else transaction

    def sync(self, force: bool) -> None:
        self._faults.at("sync")
        self._env.sync(force)

    def set_mapsize(self, size: int) -> None:
        self._faults.at("set_mapsize")
        self._env.set_mapsize(size)

    def copyfd(self, *arguments: Any, **options: Any) -> None:
        self._faults.at("copyfd")
        self._env.copyfd(*arguments, **options)


class _WriteTransaction:
    def __init__(self, transaction: lmdb.Transaction[bytes], faults: Faults) -> None:
        self._transaction = transaction
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def cursor(self, **options: Any) -> Any:
        self._faults.at("cursor")
        return self._transaction.cursor(**options)

    def commit(self) -> None:
        self._faults.at("commit")
        self._transaction.commit()
        self._faults.at("committed")


class FaultyStorage(Storage):
    """A store with faults at ``begin``, ``get``, ``expired``, ``commit`` and ``recover``.

    Attributes:
        mended: The errors that `recover` was given, and took for mended.
        mends: Errors that it takes for mended.
        open: The number of transactions that were begun and neither committed nor aborted.
    """

    def __init__(self, storage: Storage, faults: Faults, mends: type[Exception] = LookupError) -> None:
        self._storage = storage
        self.faults = faults
        self._mends = mends
        self.mended: list[Exception] = []
        self.open = 0
        self.map: Callable[[], AbstractContextManager[None]] = nullcontext

    def load(self) -> Recovered:
        return self._storage.load()

    def begin(self) -> Transaction:
        self.faults.at("begin")
        assert self.open == 0
        self.open += 1
        return _FaultyTransaction(self._storage.begin(), self)  # type: ignore[return-value]

    def map_errors(self) -> AbstractContextManager[None]:
        return self.map()

    def recover(self, error: Exception) -> bool:
        self.faults.at("recover")
        if isinstance(error, self._mends):
            self.mended.append(error)
            return True
        return False


class _FaultyTransaction:
    def __init__(self, transaction: Transaction, storage: FaultyStorage) -> None:
        self._transaction = transaction
        self._storage = storage
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "expired"):
            self._storage.faults.at(name)
        return getattr(self._transaction, name)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._storage.open -= 1

    def commit(self, *arguments: Any) -> None:
        self._storage.faults.at("commit")
        self._transaction.commit(*arguments)
        self._end()
        self._storage.faults.at("committed")

    def abort(self) -> None:
        self._transaction.abort()
        self._end()
