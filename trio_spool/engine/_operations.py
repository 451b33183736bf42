"""Items, the operations on them, and their outcomes. Nothing here knows a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Union

import attrs

from ._marking import Fetch, Invalidate

if TYPE_CHECKING:
    from ._steps import Step, StepResult


# Functions that return the value of a virtual attribute at this moment, as JSON, by the name of the attribute.
Virtual = Mapping[bytes, Callable[[], bytes]]
# More bytes than any value has.
_NO_LIMIT: Final = 1 << 32

# The part of an item that a reply carries: value, flags, datatype, CAS. Where many items are read at once, making a whole `Item` of
# each would take longer than reading it.
Shown = tuple[bytes, int, int, int]


class Item(NamedTuple):
    """A stored value.

    Attributes:
        value: The bytes.
        flags: 32 bits that belong to the client.
        expiry: When the item expires: a Unix time in whole seconds, or 0 for never.
        datatype: The kind of the value, in the protocol's bits.
        cas: A number that identifies this version of the item; never 0, and never used again.
        seqno: The number of the mutation that made this version.
        xattrs: The extended attributes: a JSON object, or empty for none.
    """

    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0
    cas: int = 0
    seqno: int = 0
    xattrs: bytes = b""

    def shown(self) -> Shown:
        """Return the part of it that a reply carries."""
        return self.value, self.flags, self.datatype, self.cas


class Entry(NamedTuple):
    """An item without its value: the size of the value in bytes, and the attributes of `Item` that fit in an entry."""

    size: int
    flags: int
    expiry: int
    datatype: int
    cas: int
    seqno: int


# A key and its item, as a scan reads them by the million: the key, then the attributes of `Item` in their order, without the last.
Record = tuple[bytes, bytes, int, int, int, int, int]
# The bytes for which a record counts beside its key and its value: the size of flags, expiry, CAS and the like in LMDB.
RECORD_OVERHEAD = 29


class Chunk(NamedTuple):
    """The result of one read of a snapshot.

    Attributes:
        records: Live records, in the order of their keys.
        following: The key to go on from; None at the end.
        size: The bytes of the records: key, value, and `RECORD_OVERHEAD` for each.
    """

    records: list[Record]
    following: bytes | None
    size: int


class Problem(Enum):
    """Why an operation was not carried out.

    With UNKNOWN, it may have been: the engine has failed while it was committing, and what was committed will be seen when the
    store is opened again.
    """

    NOT_FOUND = "not found"
    EXISTS = "exists"
    NOT_STORED = "not stored"
    NOT_A_NUMBER = "not a number"
    TOO_BIG = "too big"
    LOCKED = "locked"
    NOT_LOCKED = "not locked"
    NO_SPACE = "no space"
    FULL = "the store is as large as it may become"
    PATH = "path"
    DAMAGED = "damaged"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNPLANNED = "too large to be worked out in the transaction"
    CHANGED = "the item has changed since the operation was planned"
    ALIVE = "only a deleted document can be revived"
    HAS_VALUE = "a deleted document can't have a value"


class Outcome(NamedTuple):
    """The outcome of an operation.

    Attributes:
        problem: Why the operation was not carried out; None if it was.
        cas: The CAS of the item that the operation left behind, or of the deletion; 0 if there is none.
        seqno: The sequence number of the mutation; 0 if nothing was changed.
        item: The item that was found or left behind, for those operations that return one.
        number: The result of `Arithmetic`, or the number of keys that `Remove` removed.
        results: The results of the steps of an `Edit`. If a step failed, its result is the last one.
        deleted: Whether a tombstone was left behind.
    """

    problem: Problem | None = None
    cas: int = 0
    seqno: int = 0
    item: Item | None = None
    number: int | None = None
    results: tuple[StepResult, ...] = ()
    deleted: bool = False


class Space(NamedTuple):
    """The items of one space.

    Attributes:
        items: The number of items, including expired ones that have not been removed yet.
        bytes: The bytes of their keys, values and extended attributes.
    """

    items: int = 0
    bytes: int = 0


class StoreMode(Enum):
    """When a value is stored."""

    SET = "set"
    ADD = "add"
    REPLACE = "replace"


# In all operations, a `cas` that is not 0 is a condition: the item must exist (else NOT_FOUND) and have that CAS (else EXISTS).
# Expiries are absolute Unix times in seconds, or 0 for never. A `new_cas` that is not 0 is the CAS that the item gets.


class Store(NamedTuple):  # the most frequent operation; a named tuple is made faster than the others
    """Store a value: always, only where there is none (ADD, else EXISTS), only where there is one (REPLACE, else NOT_FOUND).

    With `or_stale`, a CAS below the item's is accepted as well: the item gets the value, keeps its expiry, and is stale.
    """

    key: bytes
    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0
    mode: StoreMode = StoreMode.SET
    cas: int = 0
    keep_expiry: bool = False  # of the item that is replaced
    new_cas: int = 0
    or_stale: bool = False


@attrs.frozen
class Concat:
    """Append to a value, or prepend; NOT_STORED if there is no item, or if the result would exceed `max_size` bytes.

    Attributes:
        datatype: The datatype of a result that is JSON. If it is 0, nobody looks.
        inline: The largest result, in bytes, that is looked at in the transaction. A larger one must be planned; else it is
            UNPLANNED.
        create: Whether to create a missing item, with these `flags` and this `expiry`.
    """

    key: bytes
    value: bytes
    prepend: bool = False
    max_size: int = _NO_LIMIT
    cas: int = 0
    datatype: int = 0
    inline: int = _NO_LIMIT
    create: bool = False
    flags: int = 0
    expiry: int = 0
    new_cas: int = 0


@attrs.frozen
class Arithmetic:
    """Add `delta` to a decimal number, modulo 2**64; a negative delta stops at 0.

    A missing item is created with `initial` and `expiry` if `create` is set; otherwise the outcome is NOT_FOUND. An existing value
    must consist of the decimal digits of a number below 2**64, else NOT_A_NUMBER. Its flags and expiry are kept. `datatype` is
    added to its datatype, or is that of a new item.

    Attributes:
        new_expiry: The expiry that an existing item gets; None to keep the old one.
        padded: Whether a number that becomes shorter is filled up with blanks behind it.
    """

    key: bytes
    delta: int
    initial: int = 0
    expiry: int = 0
    create: bool = True
    cas: int = 0
    datatype: int = 0
    new_expiry: int | None = None
    padded: bool = False
    new_cas: int = 0


@attrs.frozen
class Delete:
    """Delete an item; NOT_FOUND if it does not exist."""

    key: bytes
    cas: int = 0


@attrs.frozen
class Touch:
    """Change the expiry of an item, and return the item; NOT_FOUND if it does not exist. With `keep_cas`, it keeps its CAS."""

    key: bytes
    expiry: int
    keep_cas: bool = False


@attrs.frozen
class Lock:
    """Return an item, and lock it for some seconds. Only an operation with the CAS that the lock gives the item may change it.

    LOCKED if it is locked already, NOT_FOUND if it does not exist. Locks are not durable: a restart ends them.
    """

    key: bytes
    seconds: float


@attrs.frozen
class Unlock:
    """End a lock, by the CAS that it gave the item; NOT_LOCKED if the item is not locked, LOCKED if the CAS is another one."""

    key: bytes
    cas: int


@attrs.frozen
class Edit:
    """Change an item at paths within its JSON document and its extended attributes: all steps, or none (PATH).

    Attributes:
        steps: What to do, in order.
        expiry: The new expiry; None to keep the old one.
        datatype: The datatype of a JSON document.
        create: Whether to create a missing document: an object, or an array if the first step appends to one.
        add: Whether the document must be missing (else EXISTS).
        max_size: The maximum bytes of the value, else TOO_BIG. The extended attributes have a limit of their own, 1 MiB.
        new_expiry: The expiry of a document that is created, where `expiry` is None.
        virtual: Returns the virtual attributes of an item, for macros.
        inline: The largest item and steps together, in bytes, that are edited in the transaction. Larger ones must be planned, or
            they are UNPLANNED.
        tombstones: Whether to work on the tombstone of a document that does not exist, if it has one, as if it existed.
        as_tombstone: Whether what is created is a tombstone. If the key has one that `tombstones` does not allow to be found, that
            is NOT_STORED with `add`, and CHANGED with `create`, as in Couchbase. A tombstone can't have a value (HAS_VALUE).
        revive: Whether a tombstone becomes a document. A document that exists can't be revived (ALIVE).
    """

    key: bytes
    steps: tuple[Step, ...]
    expiry: int | None = None
    datatype: int = 0
    create: bool = False
    add: bool = False
    cas: int = 0
    max_size: int = _NO_LIMIT
    new_expiry: int = 0
    virtual: Callable[[Item], Virtual] | None = None
    inline: int = _NO_LIMIT
    tombstones: bool = False
    as_tombstone: bool = False
    revive: bool = False

    def size(self, current: Item | None) -> int:
        """Return the bytes that editing an item has to look at."""
        size = 0 if current is None else len(current.value) + len(current.xattrs)
        return size + sum(len(step.value) for step in self.steps)


@attrs.frozen
class Planned:
    """An operation on a large item that was worked out beforehand, from the item as it was then: see `plan_in_thread`.

    If value or attributes have changed since, nothing is done (CHANGED). Its conditions are those of the operation.

    Attributes:
        operation: The operation.
        base: The item from which it was worked out; None if there was none.
        outcome: The outcome, as it was worked out.
        change: The item to store, or None if nothing is stored.
        removes: Whether the item is removed.
        texts: What is in the attributes in place of the CAS and the sequence number, which are known only in the transaction.
        exact: Whether everything else of the item must be the same, too.
    """

    operation: Edit | Concat
    base: Item | None
    outcome: Outcome
    change: Item | None
    removes: bool = False
    texts: tuple[bytes, bytes] | None = None
    exact: bool = False

    @property
    def key(self) -> bytes:
        """The key of the item."""
        return self.operation.key

    @property
    def cas(self) -> int:
        """The condition of the operation."""
        return self.operation.cas

    @property
    def tombstones(self) -> bool:
        """Whether it works on a tombstone."""
        return isinstance(self.operation, Edit) and self.operation.tombstones


@attrs.frozen
class Remove:
    """Delete up to `limit` items whose keys begin with a prefix. The number in the outcome says how many were deleted."""

    prefix: bytes
    limit: int = 1000


@attrs.frozen
class Remember:
    """Keep a value beside the items, under a name. `Engine.recall` returns it. A flush leaves it alone."""

    name: bytes
    value: bytes


@attrs.frozen
class Seal:
    """Give the stored items under these keys a checksum, if the engine has such and they have none. Nothing else of them changes.

    The number in the outcome says how many were given one.
    """

    keys: tuple[bytes, ...]


@attrs.frozen
class Get:
    """Return an item as earlier operations in the queue leave it; NOT_FOUND if it does not exist.

    Attributes:
        tombstones: Whether to return the tombstone of an item that does not exist, if it has one.
    """

    key: bytes
    tombstones: bool = False


@attrs.frozen
class Flush:
    """Delete all items: now (0), or those that exist at a Unix time to come. Replaces a flush that is still to come."""

    at: float = 0


Operation = Union[
    Store, Concat, Arithmetic, Delete, Touch, Fetch, Invalidate, Lock, Unlock, Edit, Planned, Get, Flush, Remove, Remember, Seal
]


def size_of(operation: Operation) -> int:
    """Return the bytes of an operation's values."""
    if isinstance(operation, Edit):
        return sum(len(step.value) for step in operation.steps)
    if isinstance(operation, Planned):
        return 0 if operation.change is None else len(operation.change.value) + len(operation.change.xattrs)
    return len(getattr(operation, "value", b""))
