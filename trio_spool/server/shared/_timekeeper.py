"""Connections that take too long: to log in, to send one request, to say anything at all, or to take what they have asked for.

Nothing is timed while requests are answered. Instead, everybody is looked at every now and then, and what a connection has done
since the look before is all that counts. A look takes some 6 µs for a connection, so it happens seldom if no limit is short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final

import attrs

from ..._incidents import Incidents
from ..settings import LimitHits, Settings
from ._causes import Cause
from ._connections import Activity, OpenConnection
from ._counters import Counters

# A time limit is looked at so many times before it is over: it is kept to within a part of this. Picked, not measured.
_LOOKS: Final = 20
# Seconds between two looks at most. Picked, not measured.
_SELDOM: Final = 5.0
# What a client's program reads is seen in steps of up to its receive buffer, some 130 kB on Linux. A rate is measured over as long
# as four such steps take at that rate, and over no less than this many seconds. Picked, not measured.
STEP: Final = 128 * 1024
SHORTEST_MEASUREMENT: Final = 5.0


class Overdue(Enum):
    """What a connection took too long for: what the log says, the counter of such connections, and why they end."""

    LOGIN = "no login in time", "login_kicks", Cause.LOGIN_TIMEOUT
    FRAME = "a request did not arrive in time", "frame_kicks", Cause.FRAME_TIMEOUT
    IDLE = "a connection was idle for too long", "idle_kicks", Cause.IDLE_TIMEOUT
    RATE = "a client takes its answers too slowly", "rate_kicks", Cause.MIN_READ_RATE

    def __init__(self, event: str, counter: str, cause: Cause) -> None:
        self.event = event
        self.counter = counter
        self.cause = cause


@attrs.define
class _Seen:
    """What was seen of a connection.

    Attributes:
        activity: At the last look.
        login: Since when its client has not been logged in, by the clock. Likewise for the next two.
        frame: Since when the request that is arriving has been arriving.
        idle: Since when it has been idle.
        rate: Since when something has been queued for the client without a break.
        taken: What the client had taken then.
    """

    activity: Activity
    login: float
    frame: float
    idle: float
    rate: float
    taken: int = 0


class Timekeeper:
    """Finds the connections that take too long. The event loop's thread uses it.

    Args:
        settings: Returns the settings as they are now.
        counters: What is counted.
        incidents: The log.
        is_scanning: Whether a connection has an open scan. It is not idle then: Couchbase's SDKs would take the documents that they
            have got for all of them.
        clock: The monotonic clock.

    Attributes:
        looks: How many looks there were at a connection.
        limits: How often each limit was reached.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        counters: Counters,
        incidents: Incidents,
        is_scanning: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._incidents = incidents
        self._is_scanning = is_scanning
        self._clock = clock
        self._seen: dict[int, _Seen] = {}
        self.looks = 0
        self.limits = LimitHits()

    def interval(self, shortest: float) -> float:
        """Return the seconds until the next look, which are no less than `shortest`."""
        settings = self._settings()
        rate = self._measurement(settings) if settings.min_read_rate else inf
        least = min(settings.login_timeout, settings.frame_timeout, settings.idle_timeout, rate)
        return max(shortest, min(least / _LOOKS, _SELDOM))

    def forget(self, connection: OpenConnection) -> None:
        """Take note that a connection has ended."""
        self._seen.pop(connection.number, None)

    def look(self, connection: OpenConnection) -> None:
        """Look at a connection, and end it if it takes too long."""
        self.looks += 1
        now, activity = self._clock(), connection.activity()
        seen = self._seen.get(connection.number)
        if seen is None:
            self._seen[connection.number] = _Seen(activity, now, now, now, now, connection.taken() if activity.queued else 0)
            return
        self._update(seen, activity, now, connection)
        settings = self._settings()
        if now - seen.login > settings.login_timeout:
            self._end(connection, Overdue.LOGIN, f"no login within {settings.login_timeout:g} seconds", "--login-timeout")
        elif now - seen.frame > settings.frame_timeout:
            self._end(
                connection, Overdue.FRAME, f"the request took more than {settings.frame_timeout:g} seconds", "--frame-timeout"
            )
        elif now - seen.idle > settings.idle_timeout and not self._is_scanning(connection.number):
            self._end(connection, Overdue.IDLE, f"idle for more than {settings.idle_timeout:g} seconds", "--idle-timeout")
        elif settings.min_read_rate and now - seen.rate >= self._measurement(settings):
            self._check_rate(connection, seen, now, settings.min_read_rate)

    @staticmethod
    def _update(seen: _Seen, activity: Activity, now: float, connection: OpenConnection) -> None:
        before, seen.activity = seen.activity, activity
        if not activity.login_missing:
            seen.login = now
        if activity.frame is None or activity.frame != before.frame:
            seen.frame = now
        if not activity.idle or activity.read != before.read:
            seen.idle = now
        if not activity.queued or not before.queued:
            seen.rate = now
            seen.taken = connection.taken() if activity.queued else 0

    @staticmethod
    def _measurement(settings: Settings) -> float:
        return max(SHORTEST_MEASUREMENT, 4 * STEP / settings.min_read_rate)

    def _check_rate(self, connection: OpenConnection, seen: _Seen, now: float, least: int) -> None:
        taken = connection.taken()
        rate = (taken - seen.taken) / (now - seen.rate)
        if rate < least:
            why = f"{rate:.0f} bytes per second were taken, less than {least}"
            self._end(connection, Overdue.RATE, why, "--min-read-rate")
        seen.rate, seen.taken = now, taken

    def _end(self, connection: OpenConnection, overdue: Overdue, why: str, option: str) -> None:
        setattr(self._counters, overdue.counter, getattr(self._counters, overdue.counter) + 1)
        self.limits.hit(option)
        if overdue is Overdue.LOGIN:
            self._counters.auth_errors += 1
        if overdue is not Overdue.IDLE:  # which is no fault of anybody's
            peer, user = connection.who()
            self._incidents.report(
                overdue.event, connection=connection.number, peer=peer, user=user, reason=why, hint=f"see {option}"
            )
        if overdue is Overdue.RATE:
            connection.break_off(overdue.cause)
        else:
            connection.end(why, overdue.cause)
