"""The life of a range scan.

A scan reads one snapshot, in *continues*: each sends some documents, and then a last frame that says how it ended. Two things make
this a state machine rather than a loop. A scan can be ended by others at any time (its client cancels it, its life is over, its
bucket is deleted, its owner's connection is gone, the service stops) while a worker reads for a continue; that continue still
owes its client a last frame. And a continue can be cut off (its connection is gone, a bug) after it has read documents and before
it has sent them; nobody knows then where the client would go on, so the scan must end, whichever connection created it.

============  ==================================================================================================
State         What it means
============  ==================================================================================================
``CREATED``   The snapshot is open; no continue has begun.
``IDLE``      A continue has ended, and there is more to read.
``RUNNING``   A continue reads and sends. A second one is refused as busy.
``STOPPING``  Somebody has ended the scan while a continue was running: that continue sends the last frame, with
              the status "cancelled" unless it was made before, and nobody can find the scan any more.
``ENDED``     The snapshot is closed.
============  ==================================================================================================

============  ==================================================================================================
Event         When it happens
============  ==================================================================================================
``CONTINUE``  A client continues the scan.
``PAUSE``     The last frame of a continue was sent, and there is more to read.
``FINISH``    The last frame of a continue was sent, and it said that the scan is complete, cancelled or failed.
``CUT_OFF``   A continue has ended without its last frame.
``END``       Somebody ends the scan.
============  ==================================================================================================

Only the event loop's thread sends events. Worker threads read the state.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ..settings import ServiceError


class ScanState(Enum):
    """Where a scan is in its life."""

    CREATED = auto()
    IDLE = auto()
    RUNNING = auto()
    STOPPING = auto()
    ENDED = auto()


class ScanEvent(Enum):
    """What can happen to a scan."""

    CONTINUE = auto()
    PAUSE = auto()
    FINISH = auto()
    CUT_OFF = auto()
    END = auto()


class ScanError(ServiceError):
    """The base of the errors of scans."""


class ScanBusyError(ScanError):
    """Another continue of this scan is running."""


class ScanEndedError(ScanError):
    """The scan has ended."""


class ScanCancelledError(ScanError):
    """The scan was ended, and not by its client."""


_S, _E = ScanState, ScanEvent

# What each event makes of each state. A pair that is missing can't happen, or is refused.
TRANSITIONS: Final[dict[tuple[ScanState, ScanEvent], ScanState]] = {
    (_S.CREATED, _E.CONTINUE): _S.RUNNING,
    (_S.CREATED, _E.END): _S.ENDED,
    (_S.IDLE, _E.CONTINUE): _S.RUNNING,
    (_S.IDLE, _E.END): _S.ENDED,
    (_S.RUNNING, _E.PAUSE): _S.IDLE,
    (_S.RUNNING, _E.FINISH): _S.ENDED,
    (_S.RUNNING, _E.CUT_OFF): _S.ENDED,
    (_S.RUNNING, _E.END): _S.STOPPING,
    (_S.STOPPING, _E.PAUSE): _S.ENDED,
    (_S.STOPPING, _E.FINISH): _S.ENDED,
    (_S.STOPPING, _E.CUT_OFF): _S.ENDED,
    (_S.STOPPING, _E.END): _S.STOPPING,
    (_S.ENDED, _E.END): _S.ENDED,
}
# Events that a client causes are refused in these states; all others would be a bug of ours.
REFUSALS: Final[dict[tuple[ScanState, ScanEvent], type[ScanError]]] = {
    (_S.RUNNING, _E.CONTINUE): ScanBusyError,
    (_S.STOPPING, _E.CONTINUE): ScanEndedError,
    (_S.ENDED, _E.CONTINUE): ScanEndedError,
}


def next_state(state: ScanState, event: ScanEvent) -> ScanState:
    """Return the state that an event leads to.

    Raises:
        ScanBusyError: A continue is running.
        ScanEndedError: The scan has ended.
        RuntimeError: The event can't happen in this state: a bug.
    """
    following = TRANSITIONS.get((state, event))
    if following is None:
        refusal = REFUSALS.get((state, event))
        if refusal is not None:
            raise refusal("another continue of this scan is running" if refusal is ScanBusyError else "the scan has ended")
        raise RuntimeError(f"a scan that is {state.name} can't take {event.name}")
    return following
