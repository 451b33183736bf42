"""What a store must provide so that the writer thread can keep items in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from ._errors import DamagedError
from ._operations import Item, Space


class State(NamedTuple):
    """What an engine remembers beside its items. It is stored with them, in the same transaction.

    Attributes:
        seqno: The sequence number of the last mutation.
        cas: The highest CAS given out.
        flush_at: The Unix time of a flush that is still to come, or 0.
    """

    seqno: int = 0
    cas: int = 0
    flush_at: float = 0.0


class Recovered(NamedTuple):
    """What a store held beside its items when it was opened.

    Attributes:
        state: The state of the last commit.
        spaces: What each space holds.
        memories: What `Remember` stored, by name.
    """

    state: State = State()
    spaces: Mapping[bytes, Space] = {}
    memories: Mapping[bytes, bytes] = {}


class DamagedItemError(DamagedError):
    """A stored item is not what was written.

    Attributes:
        remains: What can be made of it: good for counting it, and for finding what refers to it. Nobody is to be shown it.
    """

    def __init__(self, key: bytes, reason: str, remains: Item) -> None:
        super().__init__(f"the record of the key {key!r} is damaged: {reason}")
        self.remains = remains


class Transaction(ABC):
    """A write transaction. Only the writer thread uses it."""

    @abstractmethod
    def get(self, key: bytes) -> Item | None:
        """Return the stored item, whether it has expired or not.

        Raises:
            DamagedItemError: The item is damaged. The transaction can go on.
        """

    @abstractmethod
    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        """Store an item in place of `old`, which `get` returned."""

    @abstractmethod
    def delete(self, key: bytes, old: Item) -> None:
        """Delete the item that `get` returned."""

    @abstractmethod
    def clear(self) -> None:
        """Delete all items."""

    @abstractmethod
    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        """Return the first keys that begin with a prefix, at most `limit`."""

    @abstractmethod
    def remember(self, name: bytes, value: bytes) -> None:
        """Store something beside the items."""

    def seal(self, keys: Sequence[bytes]) -> int:
        """Give those of these items that have no checksum one, and return how many there were."""
        return 0

    @abstractmethod
    def expired(self, now: float, limit: int) -> list[bytes]:
        """Return the keys of at most `limit` items that have expired."""

    @abstractmethod
    def used(self) -> int:
        """Return the bytes that all items take, as this transaction leaves them."""

    @abstractmethod
    def cost(self, key: bytes, item: Item) -> int:
        """Return about how many of these bytes an item takes."""

    @abstractmethod
    def commit(self, state: State, spaces: Mapping[bytes, Space]) -> None:
        """Make the changes permanent, as far as the engine promises it.

        Args:
            state: The new state.
            spaces: The spaces that have changed. One without items is to be forgotten.
        """

    @abstractmethod
    def abort(self) -> None:
        """Undo all changes. Harmless after a commit that failed."""


class Window(NamedTuple):
    """Some items that follow each other in a ring.

    Attributes:
        costs: Their keys, with what each item costs.
        following: Where the next window begins; empty at the end of the ring.
        fill: The part of its pages that they fill, where they have pages in common.
    """

    costs: list[tuple[bytes, int]]
    following: bytes
    fill: float = 1.0


class Ring(ABC):
    """All items in a ring, and the room for them. Only the writer thread uses it."""

    @abstractmethod
    def window(self, start: bytes, limit: int) -> Window:
        """Return the next items of the last commit.

        Args:
            start: Where the window begins; empty for the beginning of the ring.
            limit: The maximum number of items.

        Raises:
            StorageError: The store failed.
        """

    @abstractmethod
    def allowed(self, size: int) -> int:
        """Return the bytes that items may take, as `Transaction.used` counts them, where the bound has some size."""


class Storage(ABC):
    """A place to keep items in. Only the writer thread uses it, once it is open."""

    @abstractmethod
    def load(self) -> Recovered:
        """Return what is stored beside the items. Called once, before the first transaction."""

    @abstractmethod
    def begin(self) -> Transaction:
        """Begin a write transaction."""

    def map_errors(self) -> AbstractContextManager[None]:
        """Return a block in which errors of the library or the system below turn into StorageError.

        The writer works within it. Any other error is taken for a bug in an operation.
        """
        return nullcontext()

    def recover(self, error: Exception) -> bool:
        """Try to mend what made a transaction fail, which has been aborted.

        Returns:
            Whether the transaction is worth another try.

        Raises:
            StorageError: Mending failed. A `LostStoreError` ends the engine.
        """
        return False
