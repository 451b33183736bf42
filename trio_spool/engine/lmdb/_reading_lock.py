"""A read transaction that others may take away: to make the map larger, all transactions must end."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import lmdb

from .._errors import EngineClosedError
from ._transaction import Databases

# Seconds for which a reader waits for an environment that has panicked, and pauses between two looks. Opening it again takes 1 to
# 3 ms (measured), of which the reader may be an event loop.
MEND_PATIENCE = 1.0
_MEND_PAUSE = 0.0005


class Readable(Protocol):
    """What a reading reads: an `LmdbStorage`."""

    env: lmdb.Environment
    databases: Databases
    closing: bool


class Reading:
    """A read transaction that can be taken away while nobody is inside LMDB with it.

    Attributes:
        lock: Whoever is inside LMDB with the transaction holds it.
        transaction: The transaction, if there is one. It is changed with the lock held.
    """

    def __init__(self, storage: Readable) -> None:
        self._storage = storage
        self.lock = threading.Lock()
        self.transaction: lmdb.Transaction[Any] | None = None

    def begin(self, *, buffers: bool = False) -> lmdb.Transaction[Any]:
        """Begin a transaction. The lock must be held.

        Args:
            buffers: Whether to read views of the map, in place of bytes.

        If the environment has panicked, this waits until the writer thread, which has met that as well, has opened it again.

        Raises:
            EngineClosedError: The environment is closed.
            lmdb.Error: LMDB failed.
        """
        deadline = None
        while True:
            try:
                return self._begin(buffers)
            except lmdb.PanicError:
                if deadline is None:
                    deadline = time.monotonic() + MEND_PATIENCE
                elif time.monotonic() > deadline:
                    raise
            self.lock.release()  # the writer needs it
            time.sleep(_MEND_PAUSE)
            self.lock.acquire()

    def _begin(self, buffers: bool) -> lmdb.Transaction[Any]:
        storage = self._storage
        if storage.closing:
            raise EngineClosedError
        self.transaction = storage.env.begin(db=storage.databases.items, buffers=buffers)  # type: ignore[call-overload]
        return self.transaction

    def end(self) -> None:
        """End the transaction, if there is one. The lock must be held."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None
