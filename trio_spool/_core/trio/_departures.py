"""The peers that leave, in Trio's loop."""

from __future__ import annotations

import trio

from ..sending import Departures
from ._per_run import PerRun


async def _look(made: Departures) -> None:
    try:
        while True:
            await trio.lowlevel.wait_readable(made.fileno())
            made.look()
    finally:
        made.close()


def _begin() -> Departures:
    made = Departures()
    trio.lowlevel.spawn_system_task(_look, made)  # until the run ends
    return made


departures = PerRun("trio_spool_departures", _begin)
