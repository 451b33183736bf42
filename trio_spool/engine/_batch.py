"""Carrying out operations in one transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from ._admitting import Room
from ._apply import DELETED, NO_VERSION, Deleted, apply
from ._clocks import Moment
from ._interface import SpaceOf
from ._marking import Fetch
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
    Touch,
)
from ._storage import DamagedItemError, State, Transaction
from ._subdocument import Version
from ._tombstones import LIFE, TOMBSTONE_PREFIX, Tombstone, divide, is_tombstone, spaces_of_tombstones


class Shared(NamedTuple):
    """What all threads may read beside the items, as of the last commit. Nothing in it is ever changed: it is replaced.

    Attributes:
        state: The state.
        spaces: What each space holds.
        locks: The locked keys, with the time of the steady clock at which each lock ends.
        memories: What `Remember` stored, by name.
        tombstones: The tombstones of each space.
    """

    state: State = State()
    spaces: Mapping[bytes, Space] = {}
    locks: Mapping[bytes, float] = {}
    memories: Mapping[bytes, bytes] = {}
    tombstones: Mapping[bytes, Space] = {}


class Expired(NamedTuple):
    """What a search for expired items found.

    Attributes:
        items: How many items it removed, tombstones left out.
        more: Whether there may be more.
    """

    items: int
    more: bool


class Batch:
    """Operations in one transaction, and what they lead to.

    Args:
        transaction: Takes the changes. It is committed or aborted by others.
        shared: What the last commit left.
        moment: When all operations happen.
        space_of: Returns the space of a key.
        tombstone_life: Seconds until a tombstone that is stored now is purged.
        room: What may be stored; None if the store has no bound.

    Attributes:
        changed: Whether there is something to commit.
        locks: The locked keys afterwards, as in `Shared`; None if no lock has changed.
    """

    def __init__(
        self,
        transaction: Transaction,
        shared: Shared,
        moment: Moment,
        space_of: SpaceOf,
        tombstone_life: float = LIFE,
        room: Room | None = None,
    ) -> None:
        state = shared.state
        self.transaction = transaction
        self.now = now = moment.wall
        self._steady = moment.steady
        self.changed = False
        self.locks: dict[bytes, float] | None = None
        self._shared = shared
        self._space_of = space_of
        self._room = room
        self._space_changes: dict[bytes, list[int]] = {}  # items and bytes that were added
        self._tombstone_changes: dict[bytes, list[int]] = {}
        self._tombstones = bool(shared.tombstones)  # whether there may be any; if not, nobody looks for one
        self._tombstone_life = tombstone_life
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
        """Return the spaces that have changed, as they are stored, with what they hold now; those without items included."""
        shared = self._shared
        changed = self._changed(shared.spaces, self._space_changes)
        if self._tombstones or shared.tombstones:
            changed.update(spaces_of_tombstones(self._changed(shared.tombstones, self._tombstone_changes)))
        return changed

    def _changed(self, before: Mapping[bytes, Space], changes: Mapping[bytes, list[int]]) -> dict[bytes, Space]:
        changed = dict.fromkeys(before, Space()) if self._cleared else {}
        for space, (items, size) in changes.items():
            old = Space() if self._cleared else before.get(space, Space())
            held = Space(max(old.items + items, 0), max(old.bytes + size, 0))  # a damaged item may have counted for less
            if held != old or space in changed:
                changed[space] = held
        return changed

    def shared(self, state: State, changed_spaces: Mapping[bytes, Space]) -> Shared:
        """Return what other threads may see once the changes are committed."""
        _, spaces, locks, memories, tombstones = self._shared
        if changed_spaces:
            if self._tombstones or tombstones:
                changed_spaces, changed_tombstones = divide(changed_spaces)
                tombstones = _with(tombstones, changed_tombstones)
            spaces = _with(spaces, changed_spaces)
        if self._memories:
            memories = {**memories, **self._memories}
        return Shared(state, spaces, locks if self.locks is None else self.locks, memories, tombstones)

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
        if current is None and self._tombstones and isinstance(operation, (Get, Edit, Planned)) and operation.tombstones:
            try:
                current = self._tombstone(key)
            except DamagedItemError:
                return Outcome(Problem.DAMAGED)
        version = Version(self._cas + 1, self._seqno + 1) if isinstance(operation, (Edit, Planned)) else NO_VERSION
        outcome, change = apply(operation, current, locked=locked, version=version)
        if self._room is not None and isinstance(change, Item) and (problem := self._admit(key, change, stored, current)):
            return Outcome(problem)
        if outcome.problem is None:
            if isinstance(operation, Lock):
                self._own_locks()[key] = self._steady + operation.seconds
            elif locked and not isinstance(operation, (Get, Fetch)):
                self._own_locks().pop(key, None)  # any change of a locked item ends the lock
        if change is None:
            return outcome
        if isinstance(change, Tombstone):
            return self._bury(operation, stored, outcome, change, new=current is None)
        cas = getattr(operation, "new_cas", 0)
        if current is not None and (isinstance(operation, Fetch) or (isinstance(operation, Touch) and operation.keep_cas)):
            cas = current.cas
        return self._make(key, stored, outcome, change, cas)

    def _make(self, key: bytes, stored: Item | None, outcome: Outcome, change: Item | Deleted, cas: int = 0) -> Outcome:
        """Make the change of an operation, and return its outcome. The item gets a CAS that is not 0."""
        self.changed = True
        self._seqno += 1
        self._cas += 1
        if isinstance(change, Deleted):
            assert stored is not None
            self._delete(key, stored)
            return outcome._replace(cas=self._cas, seqno=self._seqno)
        # Written out: `_replace` would take longer than everything else here but the store.
        value, flags, expiry, datatype, _, _, xattrs = change
        if not cas:
            cas = self._cas
        item = Item(value, flags, expiry, datatype, cas, self._seqno, xattrs)
        self.transaction.put(key, item, stored)
        if stored is None:
            self._count(key, 1, _size(key, item))
            if self._tombstones:
                self._remove_tombstone(key)
        else:
            self._count(key, 0, len(value) + len(xattrs) - len(stored.value) - len(stored.xattrs))
        shown = item if outcome.item is not None else None
        return Outcome(None, cas, self._seqno, shown, outcome.number, outcome.results)

    def _admit(self, key: bytes, change: Item, stored: Item | None, current: Item | None) -> Problem | None:
        """Return why there is no room for a change; None if there is."""
        assert self._room is not None
        return self._room.admit(key, change, stored, current if isinstance(current, Tombstone) else None)

    # Tombstones

    def _tombstone(self, key: bytes) -> Tombstone | None:
        """Return the tombstone of a key, unless it is to be purged.

        Raises:
            DamagedItemError: It is damaged.
        """
        buried = self.transaction.get(TOMBSTONE_PREFIX + key)
        return None if buried is None or buried.expiry <= self.now else Tombstone(*buried)

    def _bury(self, operation: Operation, stored: Item | None, outcome: Outcome, change: Tombstone, *, new: bool) -> Outcome:
        """Store a tombstone, which is new or replaces the one that was found, and return the outcome of the operation."""
        key: bytes = operation.key  # type: ignore[union-attr]  # of an edit, or a planned one
        buried_key = TOMBSTONE_PREFIX + key
        old = self.stored(buried_key) if self._tombstones else None
        if new and old is not None and old.expiry > self.now:
            edit = operation.operation if isinstance(operation, Planned) else operation
            return Outcome(Problem.NOT_STORED if isinstance(edit, Edit) and edit.add else Problem.CHANGED)
        if self._room is not None and old is not None:
            self._room.removed(buried_key, old)  # the new one was admitted as if there were none
        if stored is not None:  # it has expired
            self.transaction.delete(key, stored)
            self._count(key, -1, -_size(key, stored))
        self.changed = self._tombstones = True
        self._seqno += 1
        self._cas += 1
        item = change._replace(expiry=math.ceil(self.now + self._tombstone_life), cas=self._cas, seqno=self._seqno)
        self.transaction.put(buried_key, item, old)
        self._count_tombstone(buried_key, old is None, _size(buried_key, item) - (0 if old is None else _size(buried_key, old)))
        return outcome._replace(cas=self._cas, seqno=self._seqno, deleted=True)

    def _remove_tombstone(self, key: bytes) -> None:
        """Remove the tombstone of a key that has an item now, if there is one."""
        buried_key = TOMBSTONE_PREFIX + key
        buried = self.stored(buried_key)
        if buried is not None:
            self._delete(buried_key, buried)

    def _run_on_damaged(self, operation: Operation, key: bytes, remains: Item) -> Outcome:
        """Carry out an operation on a damaged item, if it asks nothing of the item: that is how to get rid of the damage."""
        locks = self._shared.locks if self.locks is None else self.locks
        if locks.get(key, 0.0) > self._steady:
            return Outcome(Problem.DAMAGED)
        if isinstance(operation, Delete) and not operation.cas:
            return self._make(key, remains, Outcome(), DELETED)
        if isinstance(operation, Store) and operation.mode is StoreMode.SET and not (operation.cas or operation.keep_expiry):
            outcome, change = apply(operation, None)
            assert isinstance(change, Item)
            if self._room is not None and (problem := self._room.admit(key, change, remains)):
                return Outcome(problem)
            return self._make(key, remains, outcome, change)
        return Outcome(Problem.DAMAGED)

    def stored(self, key: bytes) -> Item | None:
        """Return the stored item that is to be removed, or what remains of it."""
        try:
            return self.transaction.get(key)
        except DamagedItemError as error:
            return error.remains

    def remove_expired(self, limit: int) -> Expired:
        """Remove at most `limit` expired items and tombstones, and return how many there were."""
        keys = self.transaction.expired(self.now, limit)
        for key in keys:
            stored = self.stored(key)
            if stored is not None and 0 < stored.expiry <= self.now:
                self.remove(key, stored)
        return Expired(sum(not is_tombstone(key) for key in keys), len(keys) == limit)

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
        if self._room is not None:
            self._room.cleared()
        self._cleared = True
        self._tombstones = False
        self._space_changes.clear()
        self._tombstone_changes.clear()
        self.locks = {}
        self._seqno += 1
        self._flush_at = 0.0
        self.changed = True

    def _remove_prefix(self, operation: Remove) -> Outcome:
        keys = self.transaction.keys(operation.prefix, operation.limit)
        for key in keys:
            stored = self.stored(key)
            assert stored is not None
            self.remove(key, stored)
        return Outcome(number=len(keys))

    def is_locked(self, key: bytes) -> bool:
        """Return whether an item is locked."""
        locks = self._shared.locks if self.locks is None else self.locks
        return bool(locks) and locks.get(key, 0.0) > self._steady

    def remove(self, key: bytes, stored: Item) -> None:
        """Remove an item that `stored` has returned, although no client asks for that. It is a mutation like any other."""
        self._delete(key, stored)
        self._seqno += 1
        self.changed = True
        if key in (self._shared.locks if self.locks is None else self.locks):
            self._own_locks().pop(key, None)

    def _delete(self, key: bytes, stored: Item) -> None:
        self.transaction.delete(key, stored)
        count = self._count_tombstone if is_tombstone(key) else self._count
        count(key, -1, -_size(key, stored))
        if self._room is not None:
            self._room.removed(key, stored)

    def _own_locks(self) -> dict[bytes, float]:
        if self.locks is None:
            self.locks = {key: until for key, until in self._shared.locks.items() if until > self._steady}
        return self.locks

    def _count(self, key: bytes, items: int, size: int) -> None:
        _add(self._space_changes, self._space_of(key), items, size)

    def _count_tombstone(self, buried_key: bytes, items: int, size: int) -> None:
        _add(self._tombstone_changes, self._space_of(buried_key[len(TOMBSTONE_PREFIX) :]), items, size)


def _add(changes: dict[bytes, list[int]], space: bytes, items: int, size: int) -> None:
    change = changes.get(space)
    if change is None:
        changes[space] = [items, size]
    else:
        change[0] += items
        change[1] += size


def _size(key: bytes, item: Item) -> int:
    return len(key) + len(item.value) + len(item.xattrs)


def _with(spaces: Mapping[bytes, Space], changed: Mapping[bytes, Space]) -> Mapping[bytes, Space]:
    """Return spaces with those that have changed, without those that are empty now."""
    return {space: held for space, held in {**spaces, **changed}.items() if held.items} if changed else spaces
