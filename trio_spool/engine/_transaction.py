"""Write transactions: what an engine must provide, and how operations are carried out in one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from ._apply import Deleted, apply
from ._operations import Flush, Item, Operation, Outcome


class State(NamedTuple):
    """What an engine remembers beside its items, stored with them in the same transaction.

    Attributes:
        seqno: The sequence number of the last mutation.
        cas: The highest CAS given out.
        flush_at: The Unix time of a flush that is still to come, or 0.
    """

    seqno: int = 0
    cas: int = 0
    flush_at: float = 0.0


class Transaction(ABC):
    """A write transaction, used by the writer thread alone."""

    @abstractmethod
    def get(self, key: bytes) -> Item | None:
        """Return what is stored, expired or not."""

    @abstractmethod
    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        """Store an item in place of `old`, which `get` returned."""

    @abstractmethod
    def delete(self, key: bytes, old: Item) -> None:
        """Delete what `get` returned."""

    @abstractmethod
    def clear(self) -> None:
        """Delete everything."""

    @abstractmethod
    def expired(self, now: float, limit: int) -> list[bytes]:
        """Return the keys of at most `limit` items that have expired."""

    @abstractmethod
    def commit(self, state: State) -> None:
        """Make the changes and the state last, to the degree that the engine promises."""

    @abstractmethod
    def abort(self) -> None:
        """Undo everything. Harmless after a commit that failed."""


class Batch:
    """Operations of one transaction, and the state they lead to."""

    def __init__(self, transaction: Transaction, state: State, now: float) -> None:
        self._transaction = transaction
        self._seqno = state.seqno
        # A hybrid clock: CAS values follow the time, and go on counting where it stands still or is set back.
        self._cas = max(state.cas, int(now * 1e9))
        self._old_cas = state.cas
        self._flush_at = state.flush_at
        self.now = now
        self.operations = 0
        self.changed = False
        if 0 < self._flush_at <= now:
            self._flush()

    @property
    def state(self) -> State:
        return State(self._seqno, self._cas if self.changed else self._old_cas, self._flush_at)

    def _flush(self) -> None:
        self._transaction.clear()
        self._seqno += 1
        self._flush_at = 0.0
        self.changed = True

    def run(self, operation: Operation) -> Outcome:
        self.operations += 1
        if isinstance(operation, Flush):
            if operation.at <= self.now:
                self._flush()
            else:
                self._flush_at = operation.at
                self.changed = True
            return Outcome()
        stored = self._transaction.get(operation.key)
        current = stored if stored is not None and not 0 < stored.expiry <= self.now else None
        outcome, change = apply(operation, current)
        if change is None:
            return outcome
        self.changed = True
        self._seqno += 1
        self._cas += 1
        if isinstance(change, Deleted):
            assert stored is not None
            self._transaction.delete(operation.key, stored)
            return outcome._replace(cas=self._cas, seqno=self._seqno)
        item = change._replace(cas=self._cas, seqno=self._seqno)
        self._transaction.put(operation.key, item, stored)
        return outcome._replace(cas=self._cas, seqno=self._seqno, item=item if outcome.item is not None else None)

    def remove(self, key: bytes) -> None:
        stored = self._transaction.get(key)
        if stored is not None and 0 < stored.expiry <= self.now:
            self._transaction.delete(key, stored)
            self._seqno += 1
            self.changed = True
