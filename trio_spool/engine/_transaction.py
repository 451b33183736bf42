"""Write transactions: what an engine must provide, and how operations are carried out in one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ._apply import NO_VERSION, Deleted, apply
from ._operations import Edit, Flush, Get, Item, Lock, Operation, Outcome, Remember, Remove, Space
from ._subdocument import Version

SpaceOf = Callable[[bytes], bytes]


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
    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        """Return the first keys that begin with a prefix, at most `limit`."""

    @abstractmethod
    def remember(self, name: bytes, value: bytes) -> None:
        """Store something beside the items."""

    @abstractmethod
    def expired(self, now: float, limit: int) -> list[bytes]:
        """Return the keys of at most `limit` items that have expired."""

    @abstractmethod
    def commit(self, state: State, spaces: Mapping[bytes, Space] | None) -> None:
        """Make the changes, the state, and the spaces (None: they have not changed) last, as the engine promises."""

    @abstractmethod
    def abort(self) -> None:
        """Undo everything. Harmless after a commit that failed."""


class Shared(NamedTuple):
    """What the operations of all batches work on beside the items. A batch copies what it changes."""

    space_of: SpaceOf
    spaces: Mapping[bytes, Space]
    locks: Mapping[bytes, float]
    memories: Mapping[bytes, bytes]


class Batch:
    """Operations of one transaction, and the state they lead to.

    Attributes:
        spaces: What each space holds afterwards; None if that has not changed.
        locks: What is locked afterwards, with the Unix time at which that ends; None if that has not changed.
        memories: What is remembered anew.
    """

    def __init__(self, transaction: Transaction, state: State, now: float, shared: Shared) -> None:
        self._transaction = transaction
        self._shared = shared
        self._changes: dict[bytes, list[int]] = {}  # of the spaces: items and bytes
        self._cleared = False
        self.locks: dict[bytes, float] | None = None
        self.memories: dict[bytes, bytes] = {}
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

    @property
    def spaces(self) -> dict[bytes, Space] | None:
        if not self._changes and not self._cleared:
            return None
        spaces = {} if self._cleared else dict(self._shared.spaces)
        for space, (items, size) in self._changes.items():
            old = spaces.get(space, Space())
            spaces[space] = Space(old.items + items, old.bytes + size)
        return {space: held for space, held in spaces.items() if held.items}

    def _count(self, key: bytes, items: int, size: int) -> None:
        space = self._shared.space_of(key)
        change = self._changes.get(space)
        if change is None:
            self._changes[space] = [items, size]
        else:
            change[0] += items
            change[1] += size

    def _flush(self) -> None:
        self._transaction.clear()
        self._cleared = True
        self._changes.clear()
        self.locks = {}
        self._seqno += 1
        self._flush_at = 0.0
        self.changed = True

    def run(self, operation: Operation) -> Outcome:
        self.operations += 1
        if isinstance(operation, (Flush, Remove, Remember)):
            return self._run_on_all(operation)
        key = operation.key
        stored = self._transaction.get(key)
        current = stored if stored is not None and not 0 < stored.expiry <= self.now else None
        locks = self._shared.locks if self.locks is None else self.locks
        locked = bool(locks) and locks.get(key, 0.0) > self.now
        version = Version(self._cas + 1, self._seqno + 1) if isinstance(operation, Edit) else NO_VERSION
        outcome, change = apply(operation, current, locked=locked, version=version)
        if outcome.problem is None:
            if isinstance(operation, Lock):
                self._own_locks()[key] = self.now + operation.seconds
            elif locked and not isinstance(operation, Get):
                self._own_locks().pop(key, None)  # whatever changes a locked item ends the lock
        if change is None:
            return outcome
        self.changed = True
        self._seqno += 1
        self._cas += 1
        if isinstance(change, Deleted):
            assert stored is not None
            self._transaction.delete(key, stored)
            self._count(key, -1, -_size(key, stored))
            return outcome._replace(cas=self._cas, seqno=self._seqno)
        # Written out, as `_replace` would take longer than everything else here but the database.
        value, flags, expiry, datatype, _, _, xattrs = change
        item = Item(value, flags, expiry, datatype, self._cas, self._seqno, xattrs)
        self._transaction.put(key, item, stored)
        if stored is None:
            self._count(key, 1, _size(key, item))
        else:
            self._count(key, 0, len(value) + len(xattrs) - len(stored.value) - len(stored.xattrs))
        shown = item if outcome.item is not None else None
        return Outcome(None, self._cas, self._seqno, shown, outcome.number, outcome.results)

    def _run_on_all(self, operation: Flush | Remove | Remember) -> Outcome:
        if isinstance(operation, Remove):
            return self._remove_prefix(operation)
        if isinstance(operation, Remember):
            self._transaction.remember(operation.name, operation.value)
            self.memories[operation.name] = operation.value
            self.changed = True
        elif operation.at <= self.now:
            self._flush()
        else:
            self._flush_at = operation.at
            self.changed = True
        return Outcome()

    def _own_locks(self) -> dict[bytes, float]:
        if self.locks is None:
            self.locks = {key: until for key, until in self._shared.locks.items() if until > self.now}
        return self.locks

    def _remove_prefix(self, operation: Remove) -> Outcome:
        keys = self._transaction.keys(operation.prefix, operation.limit)
        for key in keys:
            self._remove(key, self._transaction.get(key))
        return Outcome(number=len(keys))

    def _remove(self, key: bytes, stored: Item | None) -> None:
        if stored is not None:
            self._transaction.delete(key, stored)
            self._count(key, -1, -_size(key, stored))
            self._seqno += 1
            self.changed = True
            if key in (self._shared.locks if self.locks is None else self.locks):
                self._own_locks().pop(key, None)

    def remove(self, key: bytes) -> None:
        stored = self._transaction.get(key)
        if stored is not None and 0 < stored.expiry <= self.now:
            self._remove(key, stored)


def _size(key: bytes, item: Item) -> int:
    return len(key) + len(item.value) + len(item.xattrs)
