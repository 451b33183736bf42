"""Working out operations on large items beforehand, outside of the writer's transaction, where nobody has to wait for it."""

from __future__ import annotations

import secrets

import attrs

from ._apply import concat
from ._json_text import Rest
from ._operations import Concat, Edit, Item, Planned
from ._subdocument import Removed, Version, edit

# How the values of macros that stand for a part of the item as it was begin.
_OF_ITEM = b'"${$'


def plan_in_thread(operation: Edit | Concat, current: Item | None, rest: Rest | None = None) -> Planned:
    """Work out what an operation does to an item. Blocks for as long as that takes, whatever `inline` of the operation says.

    Args:
        operation: The operation.
        current: The live item under its key, as it is now; None if there is none.
        rest: Called again and again, about once a millisecond. What it raises ends the planning.
    """
    if isinstance(operation, Concat):
        outcome, item = concat(attrs.evolve(operation, inline=operation.max_size), current, rest)
        return Planned(operation, current, outcome, item)
    # Nobody can guess these numbers, so what stands for them is not in the attributes by chance, or by intent.
    version = Version(secrets.randbits(64), secrets.randbits(64))
    unlimited = attrs.evolve(operation, inline=operation.size(current))
    outcome, change = edit(unlimited, current, version, rest)
    macros = [step.value for step in operation.steps if step.macros]
    return Planned(
        operation,
        current,
        outcome,
        change if isinstance(change, Item) else None,
        removes=isinstance(change, Removed),
        texts=(version.cas_text, version.seqno_text) if macros else None,
        exact=any(value.startswith(_OF_ITEM) for value in macros),
    )
