"""The effect of an operation on the item it finds: one pure function, for all engines."""

from __future__ import annotations

from typing import Final

from ._json_paths import is_json
from ._json_text import Rest
from ._marking import MARKS, STALE, WON, Fetch, Invalidate
from ._operations import (
    Arithmetic,
    Concat,
    Delete,
    Edit,
    Get,
    Item,
    Lock,
    Operation,
    Outcome,
    Planned,
    Problem,
    Store,
    StoreMode,
    Touch,
    Unlock,
)
from ._subdocument import Removed, Version, edit
from ._tombstones import Tombstone

_TWO_64: Final = 1 << 64
_MAX_DIGITS: Final = 20  # of a number below 2**64
_MAX_WIDTH: Final = 256  # of a number with the blanks behind it: more than any server pads. Picked, not measured.

DONE: Final = Outcome()
NOT_FOUND: Final = Outcome(Problem.NOT_FOUND)
EXISTS: Final = Outcome(Problem.EXISTS)
NOT_STORED: Final = Outcome(Problem.NOT_STORED)
NOT_A_NUMBER: Final = Outcome(Problem.NOT_A_NUMBER)
NO_VERSION: Final = Version()
LOCKED: Final = Outcome(Problem.LOCKED)
NOT_LOCKED: Final = Outcome(Problem.NOT_LOCKED)


class Deleted:
    """The change of an operation that deletes the item."""


DELETED: Final = Deleted()


def apply(
    operation: Operation, current: Item | None, *, locked: bool = False, version: Version = NO_VERSION
) -> tuple[Outcome, Item | Deleted | None]:
    """Decide what an operation does.

    Args:
        operation: Any operation on one item.
        current: The live item under its key, or a tombstone if the operation looks for one; None if there is none.
        locked: Whether that item is locked.
        version: The CAS and the sequence number that a change will get.

    Returns:
        The outcome, and the item to store, or `DELETED`, or None if nothing changes. If something does, the caller fills in the
        CAS and the sequence number of the outcome, and replaces its item, if it has one, by the item that is stored.
    """
    if locked and current is not None and not isinstance(operation, (Get, Fetch)):
        problem = _refused(operation, current)
        if problem is not None:
            return problem, None
    if isinstance(operation, Store):  # the most frequent one comes first
        return _store(operation, current)
    if isinstance(operation, Get):
        return (NOT_FOUND if current is None else Outcome(cas=current.cas, item=current)), None
    if isinstance(operation, Fetch):
        return _fetch(operation, current, locked=locked)
    if isinstance(operation, (Touch, Lock)):
        if current is None:
            return NOT_FOUND, None
        if isinstance(operation, Lock):
            return Outcome(item=current), current
        return Outcome(item=current), current._replace(expiry=operation.expiry)
    if isinstance(operation, Unlock):
        if current is None:
            return NOT_FOUND, None
        return (Outcome(cas=current.cas) if locked else NOT_LOCKED), None
    if (cas := _condition(operation)) and (problem := _unmet(cas, current)):
        return problem, None
    if isinstance(operation, Delete):
        return (NOT_FOUND, None) if current is None else (Outcome(), DELETED)
    if isinstance(operation, Concat):
        return concat(operation, current)
    if isinstance(operation, Planned):
        return _carry_out_plan(operation, current, version)
    if isinstance(operation, Arithmetic):
        return _arithmetic(operation, current)
    if isinstance(operation, Invalidate):
        return _invalidate(operation, current)
    if isinstance(operation, Edit):
        outcome, change = edit(operation, current, version)
        return outcome, DELETED if isinstance(change, Removed) else change
    raise TypeError(f"not an operation on one item: {operation!r}")


def _refused(operation: Operation, current: Item) -> Outcome | None:
    """Return why an operation must not change a locked item; None if it has the CAS that the lock gave the item."""
    if _condition(operation) == current.cas:
        return None
    if isinstance(operation, Planned):
        operation = operation.operation
    if (isinstance(operation, Store) and operation.mode is StoreMode.ADD) or (isinstance(operation, Edit) and operation.add):
        return EXISTS
    return LOCKED


def _condition(operation: Operation) -> int:
    return getattr(operation, "cas", 0)


def _unmet(cas: int, current: Item | None) -> Outcome | None:
    """Return why an operation with a CAS is refused; None if the item has that CAS."""
    if current is None:
        return NOT_FOUND
    return EXISTS if current.cas != cas else None


def _store(operation: Store, current: Item | None) -> tuple[Outcome, Item | None]:
    if operation.cas:
        if problem := _unmet(operation.cas, current):
            if operation.or_stale and current is not None and operation.cas < current.cas:
                datatype = operation.datatype | STALE | current.datatype & WON
                return DONE, Item(operation.value, operation.flags, current.expiry, datatype, 0, 0, current.xattrs)
            return problem, None
    elif operation.mode is not StoreMode.SET and (current is None) is (operation.mode is StoreMode.REPLACE):
        return (NOT_FOUND if current is None else EXISTS), None
    if current is None:
        return DONE, Item(operation.value, operation.flags, operation.expiry, operation.datatype)
    expiry = current.expiry if operation.keep_expiry else operation.expiry
    return DONE, Item(operation.value, operation.flags, expiry, operation.datatype, 0, 0, current.xattrs)


def concat(operation: Concat, current: Item | None, rest: Rest | None = None) -> tuple[Outcome, Item | None]:
    """Decide what becomes of a value that is appended to, or prepended to."""
    if current is None and operation.create:
        datatype = operation.datatype if operation.datatype and is_json(operation.value, rest) else 0
        return Outcome(number=len(operation.value)), Item(operation.value, operation.flags, operation.expiry, datatype)
    if current is None or (size := len(current.value) + len(operation.value)) > operation.max_size:
        return NOT_STORED, None
    if operation.datatype and size > operation.inline:
        return Outcome(Problem.UNPLANNED), None
    value = operation.value + current.value if operation.prepend else current.value + operation.value
    datatype = operation.datatype if operation.datatype and is_json(value, rest) else 0
    return Outcome(number=size), current._replace(value=value, datatype=datatype)


def _fetch(operation: Fetch, current: Item | None, *, locked: bool) -> tuple[Outcome, Item | None]:
    """Return an item, and decide whether its client is to make a new value."""
    if current is None:
        if operation.create is None:
            return NOT_FOUND, None
        created = Item(b"", 0, operation.create, WON)
        return Outcome(item=created, number=1), created
    if locked:
        return (Outcome(cas=current.cas, item=current, number=0) if operation.expiry is None else LOCKED), None
    sooner = operation.recache is not None and 0 < current.expiry < operation.recache
    wins = not current.datatype & WON and (sooner or bool(current.datatype & STALE))
    change = current
    if wins:
        change = change._replace(datatype=change.datatype | WON)
    if operation.expiry is not None:
        change = change._replace(expiry=operation.expiry)
    return Outcome(cas=current.cas, item=change, number=int(wins)), None if change is current else change


def _invalidate(operation: Invalidate, current: Item | None) -> tuple[Outcome, Item | None]:
    """Mark an item as stale, or remove its value."""
    if current is None:
        return NOT_FOUND, None
    changed = current._replace(datatype=current.datatype & ~MARKS | (STALE if operation.stale else 0))
    if operation.expiry is not None:
        changed = changed._replace(expiry=operation.expiry)
    if operation.drop_value:
        changed = changed._replace(value=b"", flags=0, datatype=changed.datatype & MARKS)
    return Outcome(), changed


def _carry_out_plan(planned: Planned, current: Item | None, version: Version) -> tuple[Outcome, Item | Deleted | None]:
    change = planned.change
    if not _is_base(planned, current):
        return Outcome(Problem.CHANGED), None
    if planned.removes:
        return planned.outcome, DELETED
    if change is None:
        return planned.outcome, None
    xattrs = change.xattrs
    if planned.texts is not None:
        cas, seqno = planned.texts
        xattrs = xattrs.replace(cas, version.cas_text).replace(seqno, version.seqno_text)
    if current is None or isinstance(current, Tombstone):
        return planned.outcome, change._replace(xattrs=xattrs)
    expiry = planned.operation.expiry if isinstance(planned.operation, Edit) else None
    return planned.outcome, current._replace(
        value=change.value, datatype=change.datatype, xattrs=xattrs, expiry=current.expiry if expiry is None else expiry
    )


def _is_base(planned: Planned, current: Item | None) -> bool:
    """Return whether an item is still what an operation was planned from."""
    base = planned.base
    if current is None or base is None or type(current) is not type(base):  # if their types differ, one of them is a tombstone
        return current is base
    return current.cas == base.cas or not (planned.exact or current.value != base.value or current.xattrs != base.xattrs)


def _arithmetic(operation: Arithmetic, current: Item | None) -> tuple[Outcome, Item | None]:
    if current is None:
        if not operation.create:
            return NOT_FOUND, None
        number = operation.initial
        item = Item(b"%d" % number, expiry=operation.expiry, datatype=operation.datatype)
    else:
        # memcached pads a number that became shorter with blanks, and counts on; what was copied from there has them.
        old = current.value.rstrip(b" ") if len(current.value) <= _MAX_WIDTH else current.value
        # `bytes.isdigit` is true only of ASCII digits, so that a sign, a blank in front or an underscore is refused.
        if len(old) > _MAX_DIGITS or not old.isdigit() or int(old) >= _TWO_64:
            return NOT_A_NUMBER, None
        number = max(int(old) + operation.delta, 0) % _TWO_64
        value = b"%d" % number
        if operation.padded:
            value = value.ljust(len(current.value))
        expiry = current.expiry if operation.new_expiry is None else operation.new_expiry
        item = current._replace(value=value, expiry=expiry, datatype=current.datatype | operation.datatype)
    return Outcome(item=item, number=number), item
