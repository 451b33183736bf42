"""The shapes of requests: the parts that their frames may have, which are checked before a command sees them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Union


class KeyRule(Enum):
    """Whether a request has a key."""

    NONE = "none"
    REQUIRED = "required"
    OPTIONAL = "optional"


class Shape(NamedTuple):
    """The parts that the frame of a request may have.

    Attributes:
        extras: The lengths that the extras may have, in bytes.
        key: Whether the request has a key.
        value: Whether the request may have a value.
        stores: Whether the value is stored, so that the limit on values applies to it.
        collection: Whether the key begins with the id of a collection, if collections are enabled.
    """

    extras: frozenset[int]
    key: KeyRule = KeyRule.NONE
    value: bool = False
    stores: bool = False
    collection: bool = False


def shape(*extras: int, key: KeyRule = KeyRule.NONE, value: bool = False) -> Shape:
    """Make the shape of a command that is not about one item, given the lengths that its extras may have."""
    return Shape(frozenset(extras), key, value)


def item_shape(*extras: int, value: bool = False, stores: bool = False) -> Shape:
    """Make the shape of a command on one item, given the lengths that its extras may have."""
    return Shape(frozenset(extras), KeyRule.REQUIRED, value or stores, stores, collection=True)


# By opcode: 256 of them. A request with None passes unchecked, for the server to refuse.
Shapes = Sequence[Union[Shape, None]]
