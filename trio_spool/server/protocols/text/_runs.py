"""Runs of ``get`` and ``mg``, which are answered together."""

from __future__ import annotations

from ....mctext import Run
from ._exchange import TextExchange
from ._reading import Reading, read_on


def answer_run(exchange: TextExchange, run: Run) -> None:
    """Answer requests for one item each, as many as one exchange has room for."""
    read_on(exchange, Reading(run.keys, each=True))
