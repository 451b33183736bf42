"""All commands of the protocol."""

from __future__ import annotations

from typing import Final

from . import (
    _arithmetic,
    _buckets,
    _control,
    _deleting,
    _locking,
    _manifest,
    _meta,
    _reading,
    _sasl,
    _scanning,
    _snapshots,
    _stat,
    _storing,
    _subdocument,
    _touching,
)
from ._row import Table
from ._unknown import unknown

_FAMILIES: Final = (
    _arithmetic, _buckets, _control, _deleting, _locking, _manifest, _meta, _reading, _sasl, _scanning, _snapshots, _stat, _storing,
    _subdocument, _touching,
)  # fmt: skip
COMMANDS: Final = tuple(command for family in _FAMILIES for command in family.COMMANDS)
TABLE: Final = Table(COMMANDS, unknown)
