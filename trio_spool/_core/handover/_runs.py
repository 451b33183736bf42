"""Runs: many fragments written into a buffer without a line of Python for each.

For small fragments, the cost is not in the copying but in the handful of Python operations for each one. A run leaves these to the
interpreter's own iterators::

    all(map(le, map(write, fragments), credit))

For each fragment, this has the producer make it, writes it, takes one entry of the credit, and compares the fragment's size with
the entry. The run ends after the first fragment that is larger than its entry. The last entry is -1, so a run never has more
fragments than entries; setting all entries to -1 ends the run after the next fragment. What a run may write is therefore known
before it begins: no fragment but the last is larger than its entry.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from operator import le, length_hint
from typing import Any

from ._fragments import problem_of

# The maximum number of fragments in a run. Measured: more saved nothing, and would make `revoke` slower.
LONGEST = 1024
# The first value and the minimum of an entry of the credit, in bytes: picked, not measured.
_FIRST = 512
_LEAST = 64
# The entry that ends a run: no fragment has a size as small as this.
_LAST = -1


def _is_of_write(error: Exception) -> bool:
    """Return whether an error may come from `io.BytesIO.write`.

    An error of a producer written in C has no longer a traceback than one of `write`, so only the message tells the two apart.
    """
    return str(error).startswith("a bytes-like object is required" if isinstance(error, TypeError) else "memoryview: underlying")


class Runs:
    """The runs of one producer. All methods but `revoke` are called in the worker thread.

    Attributes:
        fragments: The number of fragments written so far. Written by the worker.
    """

    __slots__ = ("_credit", "_entry", "fragments")

    def __init__(self) -> None:
        self._credit: list[int] = []  # replaced by the worker; its entries are written by both sides
        self._entry = _FIRST  # the size that fragments are expected not to exceed, in bytes
        self.fragments = 0

    def prepare(self, room: int) -> None:
        """Make the credit for a run. From now on, `revoke` can end the run.

        Args:
            room: The number of bytes that the run may write. As long as it has written fewer, it may write one more fragment of
                any size.
        """
        count = max(1, min(room // self._entry, LONGEST))
        credit = self._credit
        if len(credit) != count or credit[0] != self._entry:
            credit = [self._entry] * count
            credit[-1] = _LAST
            self._credit = credit

    def revoke(self) -> None:
        """Have the current run, if there is one, end after its next fragment. May be called in any thread."""
        credit = self._credit
        credit[:] = [_LAST] * len(credit)

    def write(self, fragments: Iterator[Any], buffer: io.BytesIO) -> bool:
        """Write the fragments of one run.

        Returns:
            False if the producer has no more fragments.

        Raises:
            TypeError: A fragment is not bytes-like.
            Exception: The producer raised it. The fragments written before have been counted.
        """
        credit = self._credit
        entries = iter(credit)
        begin = buffer.tell()
        try:
            ended = all(map(le, map(buffer.write, fragments), entries))
        except (TypeError, BufferError) as exc:
            if exc.__traceback__ is None or exc.__traceback__.tb_next is not None or not _is_of_write(exc):
                raise  # the producer raised it, not `write`
            number = self.fragments + len(credit) - length_hint(entries) + 1
            raise TypeError(f"fragment {number} of a producer: {problem_of(exc)}") from exc
        finally:
            written = len(credit) - length_hint(entries)
            self.fragments += written
        size = buffer.tell() - begin
        if not ended and credit[written - 1] != _LAST:
            self._entry = max(self._entry * 2, size // written)
        else:
            self._learn(written, size)
        return not ended

    def _learn(self, count: int, size: int) -> None:
        # Twice the mean leaves room for fragments that differ a little, and fills half of the room in one run.
        if size * 2 < self._entry * count:
            self._entry = max(size * 2 // count, _LEAST)
