"""How often items are used, by the beginning of their keys: ``stats detail``, which is off unless a client switches it on."""

from __future__ import annotations

from typing import Final

import attrs

# What ends a prefix: memcached's default.
DELIMITER: Final = b":"
# The maximum number of prefixes that are told apart. Keys with further ones are not counted. Picked, not measured.
MAX_PREFIXES: Final = 10_000


@attrs.define
class Uses:
    """How often the items of one prefix are used."""

    gets: int = 0
    hits: int = 0
    sets: int = 0
    deletions: int = 0


class Prefixes:
    """Counts uses by prefix. The event loop's thread uses it.

    Attributes:
        on: Whether uses are counted. Look at it before anything else.
    """

    def __init__(self) -> None:
        self.on = False
        self._uses: dict[bytes, Uses] = {}

    def find(self, key: bytes) -> Uses:
        """Return the uses of a key's prefix, to be counted; the key is as clients know it."""
        prefix, delimiter, _ = key.partition(DELIMITER)
        if not delimiter:
            return Uses()  # which nobody sees: memcached does not count such keys either
        uses = self._uses.get(prefix)
        if uses is None:
            uses = Uses()
            if len(self._uses) < MAX_PREFIXES:
                self._uses[prefix] = uses
        return uses

    def read(self) -> list[tuple[bytes, Uses]]:
        """Return the uses by prefix."""
        return [(prefix, attrs.evolve(uses)) for prefix, uses in sorted(self._uses.items())]

    def reset(self) -> None:
        """Forget all uses."""
        self._uses.clear()
