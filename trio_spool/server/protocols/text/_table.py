"""All commands of the protocol."""

from __future__ import annotations

from typing import Final

from . import _changing, _control, _dumping, _meta_changing, _meta_getting, _reading, _stats, _storing, _watching
from ._row import Table

_FAMILIES: Final = (_changing, _control, _dumping, _meta_changing, _meta_getting, _reading, _stats, _storing, _watching)
COMMANDS: Final = tuple(command for family in _FAMILIES for command in family.COMMANDS)
TABLE: Final = Table(COMMANDS)
