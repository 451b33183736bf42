"""The peers that leave, in Trio's loop."""

from __future__ import annotations

import trio

from ..sending import Departures

_departures: trio.lowlevel.RunVar[Departures] = trio.lowlevel.RunVar("trio_spool_departures")


def departures() -> Departures:
    """Return the `Departures` of this Trio run. A system task looks for them until the run ends."""
    try:
        return _departures.get()
    except LookupError:
        made = Departures()
        _departures.set(made)
        trio.lowlevel.spawn_system_task(_look, made)
        return made


async def _look(made: Departures) -> None:
    try:
        while True:
            await trio.lowlevel.wait_readable(made.fileno())
            made.look()
    finally:
        made.close()
