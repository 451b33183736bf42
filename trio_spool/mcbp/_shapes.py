"""The shape of each request: one table, checked before a command sees the frame."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ._opcodes import LOUD, Opcode


class KeyRule(Enum):
    """Whether a request has a key."""

    NONE = "none"
    REQUIRED = "required"
    OPTIONAL = "optional"


class Shape(NamedTuple):
    """What the frame of an opcode may consist of.

    Attributes:
        extras: The lengths that its extras may have, in bytes.
        key: Whether it has a key.
        value: Whether it may have a value.
        stores: Whether its value is stored, so that the limit on values applies to it.
        collection: Whether its key begins with the id of a collection, where those are enabled.
    """

    extras: frozenset[int]
    key: KeyRule
    value: bool
    stores: bool = False
    collection: bool = False


def _shape(*extras: int, key: KeyRule = KeyRule.NONE, value: bool = False) -> Shape:
    return Shape(frozenset(extras), key, value)


def _item(*extras: int, value: bool = False, stores: bool = False) -> Shape:
    """Make the shape of a command on one item."""
    return Shape(frozenset(extras), KeyRule.REQUIRED, value or stores, stores, collection=True)


_REQUIRED, _OPTIONAL = KeyRule.REQUIRED, KeyRule.OPTIONAL
# Extras of a sub-document command: path length u16, flags u8, and perhaps an expiry u32, and flags for the document u8.
_PATH_LOOKUP = _item(3, 4, value=True)
_PATH_MUTATION = _item(3, 4, 7, 8, value=True)

_LOUD_SHAPES: dict[int, Shape] = {
    Opcode.GET: _item(0),
    Opcode.GETK: _item(0),
    Opcode.SET: _item(8, stores=True),
    Opcode.ADD: _item(8, stores=True),
    Opcode.REPLACE: _item(8, stores=True),
    Opcode.DELETE: _item(0),
    Opcode.INCREMENT: _item(20),
    Opcode.DECREMENT: _item(20),
    Opcode.APPEND: _item(0, stores=True),
    Opcode.PREPEND: _item(0, stores=True),
    Opcode.TOUCH: _item(4),
    Opcode.GAT: _item(4),
    Opcode.GATK: _item(4),
    Opcode.GET_LOCKED: _item(0, 4),
    Opcode.UNLOCK_KEY: _item(0),
    Opcode.GET_META: _item(0, 1),
    Opcode.SUBDOC_GET: _PATH_LOOKUP,
    Opcode.SUBDOC_EXISTS: _PATH_LOOKUP,
    Opcode.SUBDOC_GET_COUNT: _PATH_LOOKUP,
    Opcode.SUBDOC_DICT_ADD: _PATH_MUTATION,
    Opcode.SUBDOC_DICT_UPSERT: _PATH_MUTATION,
    Opcode.SUBDOC_DELETE: _PATH_MUTATION,
    Opcode.SUBDOC_REPLACE: _PATH_MUTATION,
    Opcode.SUBDOC_ARRAY_PUSH_LAST: _PATH_MUTATION,
    Opcode.SUBDOC_ARRAY_PUSH_FIRST: _PATH_MUTATION,
    Opcode.SUBDOC_ARRAY_INSERT: _PATH_MUTATION,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE: _PATH_MUTATION,
    Opcode.SUBDOC_COUNTER: _PATH_MUTATION,
    Opcode.SUBDOC_MULTI_LOOKUP: _item(0, 1, value=True),
    Opcode.SUBDOC_MULTI_MUTATION: _item(0, 1, 4, 5, value=True),
    Opcode.QUIT: _shape(0),
    Opcode.FLUSH: _shape(0, 4),
    Opcode.NOOP: _shape(0),
    Opcode.VERSION: _shape(0),
    Opcode.VERBOSITY: _shape(4),
    Opcode.STAT: _shape(0, key=_OPTIONAL, value=True),
    Opcode.HELLO: _shape(0, key=_OPTIONAL, value=True),
    Opcode.SASL_LIST_MECHS: _shape(0),
    Opcode.SASL_AUTH: _shape(0, key=_REQUIRED, value=True),
    Opcode.SASL_STEP: _shape(0, key=_REQUIRED, value=True),
    Opcode.CREATE_BUCKET: _shape(0, key=_REQUIRED, value=True),
    Opcode.DELETE_BUCKET: _shape(0, key=_REQUIRED, value=True),
    Opcode.LIST_BUCKETS: _shape(0),
    Opcode.SELECT_BUCKET: _shape(0, key=_OPTIONAL),
    Opcode.OBSERVE_SEQNO: _shape(0, value=True),
    Opcode.GET_CLUSTER_CONFIG: _shape(0, 16),
    Opcode.GET_RANDOM_KEY: _shape(0, 4),
    Opcode.SET_COLLECTIONS_MANIFEST: _shape(0, value=True),
    Opcode.GET_COLLECTIONS_MANIFEST: _shape(0),
    Opcode.GET_COLLECTION_ID: _shape(0, key=_OPTIONAL, value=True),
    Opcode.GET_SCOPE_ID: _shape(0, key=_OPTIONAL, value=True),
    Opcode.GET_ERROR_MAP: _shape(0, value=True),
    Opcode.GET_KEYS: Shape(frozenset({0, 4}), KeyRule.OPTIONAL, False, collection=True),
    Opcode.RANGE_SCAN_CREATE: _shape(0, value=True),
    Opcode.RANGE_SCAN_CONTINUE: _shape(28),
    Opcode.RANGE_SCAN_CANCEL: _shape(16),
    Opcode.PREPARE_SNAPSHOT: _shape(0, value=True),
    Opcode.RELEASE_SNAPSHOT: _shape(0, key=_REQUIRED),
    Opcode.GET_FILE_FRAGMENT: _shape(0, key=_REQUIRED, value=True),
}

# By opcode; None for those that the table does not know: they pass, and the server answers "unknown command".
SHAPES: tuple[Shape | None, ...] = tuple(_LOUD_SHAPES.get(LOUD.get(opcode, opcode)) for opcode in range(256))
