"""The items of an environment in a ring, in the order of their keys, and the room for them in its file.

LMDB's file never shrinks, and a transaction can't use what it frees itself. So there must be free pages beside those that the
items take. Items may take up to `_MOST` of the bound, as long as the file is not longer than that. Where it has become longer,
because values that need several pages in one piece found none, items get less: so there are more free pages, in longer pieces.
"""

from __future__ import annotations

from typing import Final

from .._errors import DamagedError
from .._storage import Ring, Window
from ._pages import DamagedPageError
from ._probing import begin_probed, until
from ._storage import LmdbStorage
from ._transaction import PAGE, cost_of, entry_size

# Parts of the bound: what items may take at most, and at least; and the length of the file with which it is the least.
# Measured, with values of 50 B to 20 kB: the file becomes 1.20 to 1.29 times the bound.
_MOST: Final = 1.2
_LEAST: Final = 1.0
MAX_LENGTH: Final = 1.3
# The part of the bound to which LMDB may use the file; when there is no room, it grows step by step beyond that, if need be.
MAX_MAP: Final = 1.28
# The part of the bound beyond which the file must not grow because of snapshots.
MAX_WITH_SNAPSHOTS: Final = 1.25


class LmdbRing(Ring):
    """The items of an environment.

    Args:
        storage: The environment.
    """

    def __init__(self, storage: LmdbStorage) -> None:
        self._storage = storage
        self._reading = storage.reading()

    def allowed(self, size: int) -> int:
        length = self._storage.length() / size
        part = _MOST - (length - _MOST) * (_MOST - _LEAST) / (MAX_LENGTH - _MOST)
        return int(size * min(max(part, _LEAST), _MOST))

    def window(self, start: bytes, limit: int) -> Window:
        # Not the transaction that writes: it would copy each value.
        with self._reading.lock, self._storage.errors:
            try:
                return self._window(start, limit)
            except DamagedPageError as error:
                self._storage.damage.met(error)
                return Window([], error.behind or b"")
            except DamagedError as error:
                self._storage.damage.met(error)
                return Window([], b"")
            finally:
                self._reading.end()

    def _window(self, start: bytes, limit: int) -> Window:
        transaction, probe = begin_probed(self._storage, self._reading, buffers=True)
        last = None if probe is None else probe.look_ahead(start, limit)
        costs: list[tuple[bytes, int]] = []
        size = 0  # what they need in the pages of the tree
        following = b"" if last is None else last + b"\0"
        with transaction.cursor() as cursor:
            if not cursor.set_range(start):
                return Window([], b"")
            for key, record in until(cursor, last):
                if len(costs) == limit:
                    following = bytes(key)
                    break
                costs.append((bytes(key), cost_of(len(key), len(record))))
                size += entry_size(len(key), len(record))
        pages = 0.0 if probe is None or not costs else len(costs) / (probe.entries_per_page() or 1.0)
        return Window(costs, following, size / (pages * PAGE) if pages else 1.0)
