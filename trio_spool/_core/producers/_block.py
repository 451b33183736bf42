"""What the blocks of spools share, whatever the event loop."""

from __future__ import annotations

from typing import Any

from .._limits import SpoolLimits
from .._loop import Loop
from .._statistics import SpoolStatistics
from ..handover import Bytes, Handoff, Size, new_handoff
from ._turns import Turns


class SpoolBlock:
    """A producer that was prepared, and its hand-over once the block was entered.

    Args:
        turns: The producer.
        limits: How much may be held.
        limiter: Limits how many producers may have a turn at the same time; None for the usual limiters.
        size: What an item weighs.
    """

    def __init__(self, turns: Turns, limits: SpoolLimits, limiter: Any, size: Size | Bytes | None) -> None:
        self._turns: Turns | None = turns
        self._limits = limits
        self._limiter = limiter
        self._size = size
        self._handoff: Handoff | None = None

    def statistics(self) -> SpoolStatistics:
        """Return the counters of this spool as they are now. They stay readable after the block."""
        return SpoolStatistics() if self._handoff is None else self._handoff.statistics()

    @property
    def held(self) -> int:
        """How much was emitted and not yet taken: bytes, or what the items weigh."""
        return 0 if self._handoff is None else self._handoff.held

    def _open(self, loop: Loop) -> tuple[Turns, Handoff]:
        loop.check_limiter(self._limiter)
        turns, self._turns = self._turns, None
        if turns is None:
            raise RuntimeError("a spool can be entered only once; call open_spool again for another one")
        self._handoff = new_handoff(self._limits, loop, self._size)
        return turns, self._handoff
