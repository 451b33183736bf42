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
    """

    extras: frozenset[int]
    key: KeyRule
    value: bool
    stores: bool = False


def _shape(*extras: int, key: KeyRule = KeyRule.NONE, value: bool = False, stores: bool = False) -> Shape:
    return Shape(frozenset(extras), key, value or stores, stores)


_REQUIRED, _OPTIONAL = KeyRule.REQUIRED, KeyRule.OPTIONAL

_LOUD_SHAPES: dict[int, Shape] = {
    Opcode.GET: _shape(0, key=_REQUIRED),
    Opcode.GETK: _shape(0, key=_REQUIRED),
    Opcode.SET: _shape(8, key=_REQUIRED, stores=True),
    Opcode.ADD: _shape(8, key=_REQUIRED, stores=True),
    Opcode.REPLACE: _shape(8, key=_REQUIRED, stores=True),
    Opcode.DELETE: _shape(0, key=_REQUIRED),
    Opcode.INCREMENT: _shape(20, key=_REQUIRED),
    Opcode.DECREMENT: _shape(20, key=_REQUIRED),
    Opcode.APPEND: _shape(0, key=_REQUIRED, stores=True),
    Opcode.PREPEND: _shape(0, key=_REQUIRED, stores=True),
    Opcode.TOUCH: _shape(4, key=_REQUIRED),
    Opcode.GAT: _shape(4, key=_REQUIRED),
    Opcode.GATK: _shape(4, key=_REQUIRED),
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
    Opcode.GET_KEYS: _shape(0, 4, key=_OPTIONAL),
    Opcode.RANGE_SCAN_CREATE: _shape(0, value=True),
    Opcode.RANGE_SCAN_CONTINUE: _shape(28),
    Opcode.RANGE_SCAN_CANCEL: _shape(16),
    Opcode.PREPARE_SNAPSHOT: _shape(0, value=True),
    Opcode.RELEASE_SNAPSHOT: _shape(0, key=_REQUIRED),
    Opcode.GET_FILE_FRAGMENT: _shape(0, key=_REQUIRED, value=True),
}

# By opcode; None for those that the table does not know: they pass, and the server answers "unknown command".
SHAPES: tuple[Shape | None, ...] = tuple(_LOUD_SHAPES.get(LOUD.get(opcode, opcode)) for opcode in range(256))
