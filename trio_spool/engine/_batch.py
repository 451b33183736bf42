"""Carrying out operations in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ._apply import DELETED, NO_VERSION, Deleted, apply
from ._clocks import Moment
from ._interface import SpaceOf
from ._operations import (
    Delete,
    Edit,
    Flush,
    Get,
    Item,
    Lock,
    Operation,
    Outcome,
    Planned,
    Problem,
    Remember,
    Remove,
    Seal,
    Space,
    Store,
    StoreMode,
)
from ._storage import DamagedItemError, State, Transaction
from ._subdocument import Version


class Shared(NamedTuple):
    """What all threads may read beside the items, as of the last commit. Nothing in it is ever changed: it is replaced.

    Attributes:
        state: The state.
        spaces: What each space holds.
        locks: The locked keys, with the time of the steady clock at which each lock ends.
        memories: What `Remember` stored, by name.
    """

    state: State = State()
    spaces: Mapping[bytes, Space] = {}
    locks: Mapping[bytes, float] = {}
    memories: Mapping[bytes, bytes] = {}


class Batch:
    """Operations in one transaction, and what they lead to.

    Args:
        transaction: Takes the changes. It is committed or aborted by others.
        shared: What the last commit left.
        moment: When all operations happen.
        space_of: Returns the space of a key.

    Attributes:
        changed: Whether there is something to commit.
        locks: The locked keys afterwards, as in `Shared`; None if no lock has changed.
    """

    def __init__(self, transaction: Transaction, shared: Shared, moment: Moment, space_of: SpaceOf) -> None:
        state = shared.state
        self.transaction = transaction
        self.now = now = moment.wall
        self._steady = moment.steady
        self.changed = False
        self.locks: dict[bytes, float] | None = None
        self._shared = shared
        self._space_of = space_of
        self._space_changes: dict[bytes, list[int]] = {}  # items and bytes that were added
        self._cleared = False
        self._memories: dict[bytes, bytes] = {}
        self._seqno = state.seqno
        # CAS values follow the hybrid time, and go on counting where it stands still.
        self._cas = max(state.cas, moment.hybrid)
        self._flush_at = state.flush_at
        if 0 < self._flush_at <= now:
            self._flush()

    # What the operations lead to

    def state(self) -> State:
        """Return the state to store with the changes."""
        return State(self._seqno, self._cas if self.changed else self._shared.state.cas, self._flush_at)

    def changed_spaces(self) -> dict[bytes, Space]:
        """Return the spaces that have changed, with what they hold now; those without items included."""
        before = self._shared.spaces
        changed = dict.fromkeys(before, Space()) if self._cleared else {}
        for space, (items, size) in self._space_changes.items():
            old = Space() if self._cleared else before.get(space, Space())
            held = Space(max(old.items + items, 0), max(old.bytes + size, 0))  # a damaged item may have counted for less
            if held != old or space in changed:
                changed[space] = held
        return changed

    def shared(self, state: State, changed_spaces: Mapping[bytes, Space]) -> Shared:
        """Return what other threads may see once the changes are committed."""
        _, spaces, locks, memories = self._shared
        if changed_spaces:
            spaces = {space: held for space, held in {**spaces, **changed_spaces}.items() if held.items}
        if self._memories:
            memories = {**memories, **self._memories}
        return Shared(state, spaces, locks if self.locks is None else self.locks, memories)

    # The operations

    def run(self, operation: Operation) -> Outcome:
        """Carry out an operation."""
        if isinstance(operation, (Flush, Remove, Remember, Seal)):
            return self._run_on_all(operation)
        key = operation.key
        try:
            stored = self.transaction.get(key)
        except DamagedItemError as error:
            return self._run_on_damaged(operation, key, error.remains)
        current = stored if stored is not None and not 0 < stored.expiry <= self.now else None
        locks = self._shared.locks if self.locks is None else self.locks
        locked = bool(locks) and locks.get(key, 0.0) > self._steady
        version = Version(self._cas + 1, self._seqno + 1) if isinstance(operation, (Edit, Planned)) else NO_VERSION
        outcome, change = apply(operation, current, locked=locked, version=version)
        if outcome.problem is None:
            if isinstance(operation, Lock):
                self._own_locks()[key] = self._steady + operation.seconds
            elif locked and not isinstance(operation, Get):
                self._own_locks().pop(key, None)  # any change of a locked item ends the lock
        if change is None:
            return outcome
        return self._make(key, stored, outcome, change)

    def _make(self, key: bytes, stored: Item | None, outcome: Outcome, change: Item | Deleted) -> Outcome:
        """Make the change of an operation, and return its outcome."""
        self.changed = True
        self._seqno += 1
        self._cas += 1
        if isinstance(change, Deleted):
            assert stored is not None
            self.transaction.delete(key, stored)
            self._count(key, -1, -_size(key, stored))
            return outcome._replace(cas=self._cas, seqno=self._seqno)
        # Written out: `_replace` would take longer than everything else here but the store.
        value, flags, expiry, datatype, _, _, xattrs = change
        item = Item(value, flags, expiry, datatype, self._cas, self._seqno, xattrs)
        self.transaction.put(key, item, stored)
        if stored is None:
            self._count(key, 1, _size(key, item))
        else:
            self._count(key, 0, len(value) + len(xattrs) - len(stored.value) - len(stored.xattrs))
        shown = item if outcome.item is not None else None
        return Outcome(None, self._cas, self._seqno, shown, outcome.number, outcome.results)

    def _run_on_damaged(self, operation: Operation, key: bytes, remains: Item) -> Outcome:
        """Carry out an operation on a damaged item, if it asks nothing of the item: that is how to get rid of the damage."""
        locks = self._shared.locks if self.locks is None else self.locks
        if locks.get(key, 0.0) > self._steady:
            return Outcome(Problem.DAMAGED)
        if isinstance(operation, Delete) and not operation.cas:
            return self._make(key, remains, Outcome(), DELETED)
        if isinstance(operation, Store) and operation.mode is StoreMode.SET and not (operation.cas or operation.keep_expiry):
            outcome, change = apply(operation, None)
            assert change is not None
            return self._make(key, remains, outcome, change)
        return Outcome(Problem.DAMAGED)

    def _stored(self, key: bytes) -> Item | None:
        """Return the stored item that is to be removed, or what remains of it."""
        try:
            return self.transaction.get(key)
        except DamagedItemError as error:
            return error.remains

    def remove_expired(self, limit: int) -> int:
        """Remove at most `limit` expired items, and return how many there were."""
        keys = self.transaction.expired(self.now, limit)
        for key in keys:
            stored = self._stored(key)
            if stored is not None and 0 < stored.expiry <= self.now:
                self._remove(key, stored)
        return len(keys)

    def _run_on_all(self, operation: Flush | Remove | Remember | Seal) -> Outcome:
        if isinstance(operation, Remove):
            return self._remove_prefix(operation)
        if isinstance(operation, Seal):
            sealed = self.transaction.seal(operation.keys)
            self.changed = self.changed or sealed > 0
            return Outcome(number=sealed)
        if isinstance(operation, Remember):
            self.transaction.remember(operation.name, operation.value)
            self._memories[operation.name] = operation.value
            self.changed = True
        elif operation.at <= self.now:
            self._flush()
        else:
            self._flush_at = operation.at
            self.changed = True
        return Outcome()

    def _flush(self) -> None:
        self.transaction.clear()
        self._cleared = True
        self._space_changes.clear()
        self.locks = {}
        self._seqno += 1
        self._flush_at = 0.0
        self.changed = True

    def _remove_prefix(self, operation: Remove) -> Outcome:
        keys = self.transaction.keys(operation.prefix, operation.limit)
        for key in keys:
            stored = self._stored(key)
            assert stored is not None
            self._remove(key, stored)
        return Outcome(number=len(keys))

    def _remove(self, key: bytes, stored: Item) -> None:
        self.transaction.delete(key, stored)
        self._count(key, -1, -_size(key, stored))
        self._seqno += 1
        self.changed = True
        if key in (self._shared.locks if self.locks is None else self.locks):
            self._own_locks().pop(key, None)

    def _own_locks(self) -> dict[bytes, float]:
        if self.locks is None:
            self.locks = {key: until for key, until in self._shared.locks.items() if until > self._steady}
        return self.locks

    def _count(self, key: bytes, items: int, size: int) -> None:
        space = self._space_of(key)
        change = self._space_changes.get(space)
        if change is None:
            self._space_changes[space] = [items, size]
        else:
            change[0] += items
            change[1] += size


def _size(key: bytes, item: Item) -> int:
    return len(key) + len(item.value) + len(item.xattrs)
