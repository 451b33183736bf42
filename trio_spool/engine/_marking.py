"""Operations that decide which of many clients makes a new value, and the marks that they leave on an item."""

from __future__ import annotations

from typing import Final

import attrs

# Two bits of the datatype that belong to no value: the item was marked as stale, and a client has been told that it is the one to
# make a new value. A store clears both. They are stored with the item, so a restart keeps them.
# Snapshots leave them out.
STALE: Final = 0x20
WON: Final = 0x10
MARKS: Final = STALE | WON


@attrs.frozen
class Fetch:
    """Return an item, and decide who is to make a new value; NOT_FOUND if it does not exist and is not created.

    The number in the outcome is 1 if this client is to make a new value, and 0 otherwise. It is to if the item was created, if it
    is stale, or if it expires before `recache`, unless another client has been told so already: then the item has the mark `WON`.
    Marking an item, and changing its expiry, leaves its CAS as it is.

    Attributes:
        create: The expiry of an empty item that is created if there is none; None not to create one.
        recache: The Unix time before which an item must expire for a client to win; None for no such condition.
        expiry: The expiry that an existing item gets; None to keep the old one.
    """

    key: bytes
    create: int | None = None
    recache: float | None = None
    expiry: int | None = None
    new_cas: int = 0


@attrs.frozen
class Invalidate:
    """Mark an item as stale, so that the next client that fetches it makes a new value; or only remove its value.

    Attributes:
        expiry: The expiry that it gets; None to keep the old one.
        stale: Whether it is marked.
        drop_value: Whether its value is removed, and its flags are set to 0.
    """

    key: bytes
    cas: int = 0
    expiry: int | None = None
    stale: bool = True
    drop_value: bool = False
    new_cas: int = 0
