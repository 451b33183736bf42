"""What keeps going wrong, in the log: a line when it begins, a line when it ends, and how often it happened in between.

Whatever a client can cause a thousand times a second, and whatever a full disk or a missing descriptor causes at each request, is
reported here instead of being logged: the log would be full before anybody read it.

An incident begins with the first report of its event, which is logged with its details, and with the traceback of an error. Further
reports are counted. While they go on, a line each minute says how often. The incident is over once nothing was reported for
`QUIET` seconds. Where the absence of reports proves nothing (a full disk to which nobody writes is still full), the incident
`lasts` until something has `passed` as well.

An event may happen in several *places*: the address of a client, the line of code in which a bug is. Each place has an incident of
its own, so that one does not hide another; beyond `MAX_PLACES` at one time, the rest share one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

# Seconds without a report after which an incident is over. A condition that comes and goes more often than that is one incident.
# Picked, not measured.
QUIET: Final = 10.0
# Seconds between two lines that say that an incident goes on. Picked, not measured: a line a minute is read, and fills no disk.
EVERY: Final = 60.0
# Incidents of one event that are told apart at one time. Picked, not measured: it bounds how many lines a client with many
# addresses can cause.
MAX_PLACES: Final = 16
# The place of the reports beyond that.
_ELSEWHERE: Final = "elsewhere"
# Characters of a detail that are logged.
_MAX_SHOWN: Final = 300

# Writes a line of the log: the level, as `logging` names it in lower case; what happened; details; and an error, whose traceback is
# to be shown.
Write = Callable[[str, str, "dict[str, object]", "BaseException | None"], object]


@attrs.define
class Incident:
    """An event that goes on happening in one place.

    Attributes:
        event: What happens.
        place: Where, or an empty string.
        level: The level of its lines in the log.
        began: When it was first reported, by the clock, in seconds.
        last: When it was last reported.
        count: How often it was reported.
        lasts: Whether it is over only after something has passed.
        passed: Whether something has, since the last report.
    """

    event: str
    place: str
    level: str
    began: float
    last: float
    lasts: bool
    count: int = 1
    passed: bool = False
    _noted: float = 0.0  # when the log was last told
    _noted_count: int = 1  # `count` then

    def describe(self, now: float) -> dict[str, object]:
        """Describe it for the statistics, in values that JSON can hold."""
        description: dict[str, object] = {"event": self.event, "count": self.count, "seconds": round(now - self.began, 1)}
        return description | {"place": self.place, "idle": round(now - self.last, 1)}

    def is_over(self, now: float, quiet: float) -> bool:
        """Whether nothing was reported for a while, and something has passed if that is needed."""
        return now - self.last >= quiet and (self.passed or not self.lasts)

    def take_news(self, now: float, every: float) -> int:
        """Return how many reports the log has not been told of, if it is time to tell it; else 0."""
        if now - self._noted < every or self.count == self._noted_count:
            return 0
        news = self.count - self._noted_count
        self._noted, self._noted_count = now, self.count
        return news


class Incidents:
    """The incidents that are going on. All threads may use it.

    Args:
        write: Writes a line of the log. What it raises is ignored: the disk that has the log may be the one that is full.
        clock: The monotonic clock.
        quiet: Seconds without a report after which an incident is over.
        every: Seconds between two lines that say that an incident goes on.
    """

    def __init__(
        self, write: Write, clock: Callable[[], float] = time.monotonic, *, quiet: float = QUIET, every: float = EVERY
    ) -> None:
        self._write = write
        self._clock = clock
        self._quiet = quiet
        self._every = every
        self._lock = threading.Lock()
        # By event and place. The lines are written without the lock, since writing may wait.
        self._going_on: dict[tuple[str, str], Incident] = {}
        self._counts: dict[str, int] = {}

    def report(
        self,
        event: str,
        *,
        place: str = "",
        level: str = "warning",
        error: BaseException | None = None,
        lasts: bool = False,
        **details: object,
    ) -> None:
        """Report that something has happened. The first report of an incident is logged, and the others are counted.

        Args:
            event: What happened: a constant, to which the details belong.
            place: Where it happened, if that is a reason to tell incidents apart.
            level: The level of the log.
            error: What was raised. Give it only if its traceback tells something.
            lasts: Whether this goes on until something has `passed`.
            **details: What the first line is to say as well. The log gets them on one line, without control characters.
        """
        now = self._clock()
        with self._lock:
            self._counts[event] = self._counts.get(event, 0) + 1
            place = self._place(event, place)
            incident = self._going_on.get((event, place))
            if incident is not None:
                incident.count += 1
                incident.last = now
                incident.passed = False
                return
            incident = self._going_on[event, place] = Incident(event, place, level, now, now, lasts)
            incident._noted = now
        self._tell(level, event, details, error)

    def _tell(self, level: str, event: str, details: dict[str, object], error: BaseException | None = None) -> None:
        with suppress(Exception):
            self._write(level, event, _shown(details), error)

    def _place(self, event: str, place: str) -> str:
        if not place or (event, place) in self._going_on:
            return place
        places = sum(event == each for each, _ in self._going_on)
        return place if places < MAX_PLACES else _ELSEWHERE

    def passed(self, event: str, place: str = "") -> None:
        """Note that something went well that an incident which `lasts` would have kept from going well.

        Args:
            event: The event.
            place: The place where it went well; an empty string for all of them.
        """
        if not self._going_on:  # in nearly all cases; a report that comes at this moment is later than what went well
            return
        with self._lock:
            for incident in self._going_on.values():
                if incident.event == event and (not place or incident.place in (place, _ELSEWHERE)):
                    incident.passed = True

    def look(self) -> None:
        """Log which incidents are over, and which have gone on for a while. Call it every second or so."""
        if not self._going_on:
            return
        now = self._clock()
        lines: list[tuple[str, str, dict[str, object]]] = []
        with self._lock:
            for key, incident in list(self._going_on.items()):
                where: dict[str, object] = {"place": incident.place} if incident.place else {}
                seconds = round(incident.last - incident.began, 1)
                if incident.is_over(now, self._quiet):
                    del self._going_on[key]
                    if incident.count > 1 or incident.lasts:  # one report is one line, unless its end is news
                        details = {**where, "times": incident.count, "seconds": seconds}
                        lines.append((incident.level, f"{incident.event}: over", details))
                elif news := incident.take_news(now, self._every):
                    details = {**where, "times": news, "in_all": incident.count, "seconds": seconds}
                    lines.append((incident.level, f"{incident.event}: still", details))
        for level, event, details in lines:
            self._tell(level, event, details)

    def finish(self) -> None:
        """Log how often happened what the log has not been told of yet: call it when nothing more is reported."""
        with self._lock:
            left = [incident for incident in self._going_on.values() if incident.count > incident._noted_count]
            self._going_on.clear()
        for incident in left:
            where: dict[str, object] = {"place": incident.place} if incident.place else {}
            details = {**where, "times": incident.count, "seconds": round(incident.last - incident.began, 1)}
            self._write(incident.level, f"{incident.event}: to the end", _shown(details), None)

    def going_on(self) -> list[dict[str, object]]:
        """Describe the incidents that are going on, in the order in which they began."""
        now = self._clock()
        with self._lock:
            return [incident.describe(now) for incident in self._going_on.values()]

    def counts(self) -> dict[str, int]:
        """Return how often each event was ever reported."""
        with self._lock:
            return dict(self._counts)


def place_of(error: BaseException) -> str:
    """Return where an error was raised, as file and line: two bugs are two incidents, however often each is met."""
    traceback = error.__traceback__
    if traceback is None:
        return type(error).__name__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    file = traceback.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} in {file}:{traceback.tb_lineno}"


def by_logging(logger: logging.Logger) -> Write:
    """Return a function that writes lines by the standard library's logging."""

    def write(level: str, event: str, details: dict[str, object], error: BaseException | None) -> None:
        rest = "".join(f" {name}={value}" for name, value in details.items())
        logger.log(logging.getLevelName(level.upper()), "%s%s", event, f":{rest}" if rest else "", exc_info=error)

    return write


def _shown(details: dict[str, object]) -> dict[str, object]:
    """Return details as the log may show them: clients choose some of them, and could write lines of their own otherwise."""
    return {name: _printable(value) if isinstance(value, str) else value for name, value in details.items()}


def _printable(text: str) -> str:
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
    return text if text.isprintable() else ascii(text)
