"""The life of a scan: what each event makes of each state."""

from __future__ import annotations

from itertools import product

import pytest

from trio_spool.server.shared import ScanBusyError, ScanEndedError
from trio_spool.server.shared._scan_state import ScanEvent, ScanState, next_state

CREATED, IDLE, RUNNING, STOPPING, ENDED = ScanState
CONTINUE, PAUSE, FINISH, CUT_OFF, END = ScanEvent
EXPECTED = {
    CREATED: {CONTINUE: RUNNING, END: ENDED},
    IDLE: {CONTINUE: RUNNING, END: ENDED},
    RUNNING: {CONTINUE: ScanBusyError, PAUSE: IDLE, FINISH: ENDED, CUT_OFF: ENDED, END: STOPPING},
    STOPPING: {CONTINUE: ScanEndedError, PAUSE: ENDED, FINISH: ENDED, CUT_OFF: ENDED, END: STOPPING},
    ENDED: {CONTINUE: ScanEndedError, END: ENDED},
}


@pytest.mark.parametrize(("state", "event"), list(product(ScanState, ScanEvent)), ids=lambda member: member.name.lower())
def test_every_pair(state: ScanState, event: ScanEvent) -> None:
    expected = EXPECTED[state].get(event, RuntimeError)
    if isinstance(expected, ScanState):
        assert next_state(state, event) is expected
    else:
        with pytest.raises(expected):
            next_state(state, event)
