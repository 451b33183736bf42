"""Runs: many fragments written into a buffer without a line of Python for each.

What costs a producer of small fragments is not copying them; it is the handful of operations with which each is looked at. A run
lets the interpreter's own iterators do that::

    all(map(le, map(write, fragments), credit))

For each fragment this has the producer make it, writes it, takes one entry of the credit, and compares the fragment's size with
that. The run ends behind the first fragment that is larger: the last entry is -1, so there are never more fragments than entries,
and whoever wants the run to end behind the next fragment sets all of them to -1. What a run writes is therefore bounded before it
begins: all fragments but the last are no larger than the entries.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from operator import le, length_hint
from typing import Any

# Fragments in one run. More would save nothing that could be measured, and make `revoke` slower.
LONGEST = 1024
# An entry of the credit, in bytes: where it begins, and what it never falls below.
_FIRST = 512
_LEAST = 64
_LAST = -1


def _is_of_write(error: Exception) -> bool:
    """Whether an error may be that of `io.BytesIO.write`. One of a producer that is written in C has no more of a traceback."""
    return str(error).startswith("a bytes-like object is required" if isinstance(error, TypeError) else "memoryview: underlying")


class Runs:
    """The runs of one producer. Its thread calls everything but `revoke`.

    Attributes:
        fragments: How many have been written. The worker's.
    """

    __slots__ = ("_credit", "_entry", "fragments")

    def __init__(self) -> None:
        self._credit: list[int] = []  # the worker replaces it; both write its entries
        self._entry = _FIRST  # what fragments are expected not to exceed, in bytes
        self.fragments = 0

    def prepare(self, room: int) -> bool:
        """Make the credit for a run, from now on subject to `revoke`.

        Args:
            room: The run may write this many bytes and, if it has not written so many, one more fragment of any size.

        Returns:
            False if there is not enough room for a run to be worth it.
        """
        count = min(room // self._entry, LONGEST)
        if count < 2:
            return False
        credit = self._credit
        if len(credit) != count or credit[0] != self._entry:
            credit = [self._entry] * count
            credit[-1] = _LAST
            self._credit = credit
        return True

    def revoke(self) -> None:
        """Let the run that is going on, if any, end behind the next fragment. For any thread."""
        credit = self._credit
        credit[:] = [_LAST] * len(credit)

    def write(self, fragments: Iterator[Any], buffer: io.BytesIO) -> bool:
        """Write the fragments of one run.

        Returns:
            False if there are no more.

        Raises:
            TypeError: A fragment is not bytes-like.
            Exception: What the producer raised. What was written before has been counted.
        """
        credit = self._credit
        entries = iter(credit)
        begin = buffer.tell()
        try:
            ended = all(map(le, map(buffer.write, fragments), entries))
        except (TypeError, BufferError) as exc:
            if exc.__traceback__ is None or exc.__traceback__.tb_next is not None or not _is_of_write(exc):
                raise  # by the producer, not by `write`
            number = self.fragments + len(credit) - length_hint(entries) + 1
            raise TypeError(f"fragment {number} of a producer: {exc}") from exc
        finally:
            written = len(credit) - length_hint(entries)
            self.fragments += written
        size = buffer.tell() - begin
        if not ended and credit[written - 1] != _LAST:
            self._entry = max(self._entry * 2, size // written)
        else:
            self._learn(written, size)
        return not ended

    def one(self, size: int) -> None:
        """Count a fragment that was written without a run."""
        self.fragments += 1
        self._learn(1, size)

    def _learn(self, count: int, size: int) -> None:
        if size * 8 < self._entry * count:
            self._entry = max(self._entry // 2, _LEAST)
