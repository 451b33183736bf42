"""What can be asked of a store, and what comes of it. Nothing here knows a protocol."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Union

import attrs

if TYPE_CHECKING:
    from ._steps import Step, StepResult


# What is sent of an item: value, flags, datatype, CAS. Where many are read at once, making the whole items would take longer than
# reading does.
Shown = tuple[bytes, int, int, int]


class Item(NamedTuple):
    """A stored value.

    Attributes:
        value: The bytes.
        flags: 32 bits that belong to the client.
        expiry: The Unix time, in whole seconds, from which on it no longer exists; 0 for never.
        datatype: What the value is, in the protocol's bits.
        cas: Identifies this version of it; never 0, and never used again.
        seqno: The number of the mutation that made it.
        xattrs: A JSON object of what else belongs to it, its extended attributes; empty for none.
    """

    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0
    cas: int = 0
    seqno: int = 0
    xattrs: bytes = b""

    def shown(self) -> Shown:
        """Return what is sent of it."""
        return self.value, self.flags, self.datatype, self.cas


class Entry(NamedTuple):
    """An item without its value, but with that value's size in bytes."""

    size: int
    flags: int
    expiry: int
    datatype: int
    cas: int
    seqno: int


# A key and its item, as a scan reads them by the million: the key, and then the attributes of `Item` in their order, without the
# last.
Record = tuple[bytes, bytes, int, int, int, int, int]
# What a record is counted with beside its key and its value, in bytes.
RECORD_OVERHEAD = 29


class Chunk(NamedTuple):
    """What is read at once of a snapshot.

    Attributes:
        records: Live records in the order of their keys.
        following: The key to go on from; None at the end.
        size: Of the records: keys, values, and `RECORD_OVERHEAD` each.
    """

    records: list[Record]
    following: bytes | None
    size: int


class Problem(Enum):
    """Why an operation was not carried out."""

    NOT_FOUND = "not found"
    EXISTS = "exists"
    NOT_STORED = "not stored"
    NOT_A_NUMBER = "not a number"
    TOO_BIG = "too big"
    LOCKED = "locked"
    NOT_LOCKED = "not locked"
    NO_SPACE = "no space"
    PATH = "path"
    FAILED = "failed"


class Outcome(NamedTuple):
    """What came of an operation.

    Attributes:
        problem: None if it was carried out.
        cas: The CAS of the item that it left behind, or of the deletion; 0 if there was none.
        seqno: The mutation's sequence number; 0 if nothing was changed.
        item: The item that it found or left, for those operations that return one.
        number: The result of arithmetic, or how many keys were removed.
        results: Of an `Edit`, of each of its steps: the first that failed is the last one.
    """

    problem: Problem | None = None
    cas: int = 0
    seqno: int = 0
    item: Item | None = None
    number: int | None = None
    results: tuple[StepResult, ...] = ()


class Space(NamedTuple):
    """What the keys of one space hold.

    Attributes:
        items: How many there are, with those that have expired and were not yet removed.
        bytes: Of their keys and values.
    """

    items: int = 0
    bytes: int = 0


class StoreMode(Enum):
    """When a value is stored."""

    SET = "set"
    ADD = "add"
    REPLACE = "replace"


# In all of these, `cas`, if it is not 0, is a condition: the item must exist (else NOT_FOUND) and have that CAS (else EXISTS).
# Expiries are absolute Unix times in seconds, 0 for never.


class Store(NamedTuple):  # made by the hundred thousand, faster than the others
    """Store a value: always, only where there is none (ADD, else EXISTS), only where there is one (REPLACE, else NOT_FOUND)."""

    key: bytes
    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0
    mode: StoreMode = StoreMode.SET
    cas: int = 0
    keep_expiry: bool = False  # of the item that is replaced


@attrs.frozen
class Concat:
    """Append to a value, or prepend; NOT_STORED if there is none, or if the result would be over `max_size` bytes."""

    key: bytes
    value: bytes
    prepend: bool = False
    max_size: int = 1 << 32
    cas: int = 0


@attrs.frozen
class Arithmetic:
    """Add `delta` to a decimal number, modulo 2**64; a negative delta stops at 0.

    A missing item is created with `initial` and `expiry` if `create` is set, and else NOT_FOUND. The value of an item that exists
    must be decimal digits of a number below 2**64, else NOT_A_NUMBER. Its flags and expiry are kept.
    """

    key: bytes
    delta: int
    initial: int = 0
    expiry: int = 0
    create: bool = True
    cas: int = 0


@attrs.frozen
class Delete:
    """Delete an item; NOT_FOUND if there is none."""

    key: bytes
    cas: int = 0


@attrs.frozen
class Touch:
    """Give an item another expiry, and return it; NOT_FOUND if there is none."""

    key: bytes
    expiry: int


@attrs.frozen
class Lock:
    """Return an item, and let nobody else change it for some seconds: only an operation with the CAS that this gives it may.

    LOCKED if it is locked already. Locks are not durable: a restart ends them.
    """

    key: bytes
    seconds: float


@attrs.frozen
class Unlock:
    """End a lock, by the CAS that it gave the item; NOT_LOCKED if there is none, LOCKED if that is another one."""

    key: bytes
    cas: int


@attrs.frozen
class Edit:
    """Change an item at paths within its JSON document, and within its extended attributes: all steps, or none (PATH).

    Attributes:
        steps: What to do, in order.
        expiry: The item's new one; None to keep it.
        datatype: Of a JSON document.
        create: Whether to make a document if there is none: an object, or an array if the first step appends to one.
        add: Whether there must be none (else EXISTS).
        new_expiry: That of an item that is made, where `expiry` is None.
        max_size: TOO_BIG if the value would have more bytes, or the extended attributes more than 1 MiB.
    """

    key: bytes
    steps: tuple[Step, ...]
    expiry: int | None = None
    datatype: int = 0
    create: bool = False
    add: bool = False
    cas: int = 0
    max_size: int = 1 << 32
    new_expiry: int = 0


@attrs.frozen
class Remove:
    """Delete up to `limit` items whose keys begin with a prefix; the outcome's number says how many there were."""

    prefix: bytes
    limit: int = 1000


@attrs.frozen
class Remember:
    """Keep something beside the items, under a name; `Engine.recall` returns it. A flush leaves it alone."""

    name: bytes
    value: bytes


@attrs.frozen
class Get:
    """Return an item as the operations before it in the queue leave it; NOT_FOUND if there is none."""

    key: bytes


@attrs.frozen
class Flush:
    """Delete everything: now (0), or whatever is there at a Unix time to come. Replaces a flush that is still to come."""

    at: float = 0


Operation = Union[Store, Concat, Arithmetic, Delete, Touch, Lock, Unlock, Edit, Get, Flush, Remove, Remember]
