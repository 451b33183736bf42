"""What keeps going wrong is one line when it begins and one when it ends, with a count between."""

from __future__ import annotations

import errno
import logging

import pytest

from trio_spool._incidents import EVERY, MAX_PLACES, QUIET, Incidents, by_logging, place_of


class Log:
    """What was written, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.errors: list[BaseException | None] = []
        self.incidents = Incidents(self.write, lambda: self.now)

    def write(self, level: str, event: str, details: dict[str, object], error: BaseException | None) -> None:
        self.lines.append((event, details))
        self.errors.append(error)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.incidents.look()

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_thousand_reports_are_two_lines(log: Log) -> None:
    for number in range(1000):
        log.incidents.report("no room", client=number)
    log.after(QUIET / 2)
    assert log.lines == [("no room", {"client": 0})]
    log.after(QUIET / 2)
    assert log.lines[1:] == [("no room: over", {"times": 1000, "seconds": 0.0})]
    log.after(QUIET)
    assert len(log.lines) == 2


def test_what_goes_on_is_counted_each_minute(log: Log) -> None:
    for _ in range(int(2 * EVERY) + 1):
        log.incidents.report("no room")
        log.after(1)
    assert log.events == ["no room", "no room: still", "no room: still"]
    assert [details["times"] for _, details in log.lines[1:]] == [EVERY - 1, EVERY]


def test_one_report_is_one_line(log: Log) -> None:
    log.incidents.report("bad bytes")
    log.after(QUIET)
    assert log.events == ["bad bytes"]
    log.incidents.report("bad bytes")
    assert log.events == ["bad bytes", "bad bytes"]


def test_what_lasts_is_over_when_something_has_passed(log: Log) -> None:
    log.incidents.report("no room", lasts=True)
    log.after(100 * QUIET)
    assert log.events == ["no room"]
    log.incidents.passed("another thing")
    log.after(1)
    assert log.events == ["no room"]
    log.incidents.passed("no room")
    log.after(1)
    assert log.events == ["no room", "no room: over"]


def test_what_comes_and_goes_is_one_incident(log: Log) -> None:
    for _ in range(50):
        log.incidents.report("no room", lasts=True)
        log.incidents.passed("no room")
        log.after(QUIET / 2)
    assert set(log.events) == {"no room", "no room: still"}


def test_a_failure_after_something_passed_keeps_the_incident_open(log: Log) -> None:
    log.incidents.report("no room", lasts=True)
    log.incidents.passed("no room")
    log.incidents.report("no room", lasts=True)
    log.after(2 * QUIET)
    assert log.events == ["no room"]


def test_at_the_end_the_log_has_every_count(log: Log) -> None:
    log.incidents.report("once")
    for _ in range(3):
        log.incidents.report("often", place="a")
    log.now += 2
    log.incidents.finish()
    assert log.lines[2:] == [("often: to the end", {"place": "a", "times": 3, "seconds": 0.0})]
    assert log.incidents.going_on() == []


def test_places_do_not_hide_each_other(log: Log) -> None:
    for place in "a", "b", "a":
        log.incidents.report("refused", place=place)
    assert log.events == ["refused", "refused"]
    log.after(QUIET)
    assert log.lines[2:] == [("refused: over", {"place": "a", "times": 2, "seconds": 0.0})]


def test_the_places_at_one_time_have_a_bound(log: Log) -> None:
    for number in range(10_000):
        log.incidents.report("refused", place=str(number))
    assert len(log.lines) == MAX_PLACES + 1
    log.after(QUIET)
    assert log.lines[-1] == ("refused: over", {"place": "elsewhere", "times": 10_000 - MAX_PLACES, "seconds": 0.0})
    assert log.incidents.counts() == {"refused": 10_000}
    assert log.incidents.going_on() == []


def test_only_the_first_traceback_is_shown(log: Log) -> None:
    errors = [ValueError("first"), ValueError("second")]
    for error in errors:
        log.incidents.report("failed", error=error)
    log.after(QUIET)
    assert log.errors == [errors[0], None]


def test_clients_cannot_write_lines_of_their_own(log: Log) -> None:
    log.incidents.report("refused", user="eve\nrefused user=\x1b[31mroot", long="x" * 10_000)
    details = log.lines[0][1]
    assert details["user"] == r"'eve\nrefused user=\x1b[31mroot'"
    assert len(str(details["long"])) == 300


def test_the_statistics_say_what_goes_on(log: Log) -> None:
    log.incidents.report("no room")
    log.now += 3
    log.incidents.report("no room")
    log.now += 1
    assert log.incidents.going_on() == [{"event": "no room", "place": "", "count": 2, "seconds": 4.0, "idle": 1.0}]


def test_an_error_has_the_place_where_it_was_raised() -> None:
    try:
        int("x")
    except ValueError as exc:
        place = place_of(exc)
    assert place.startswith("ValueError in test_incidents.py:")
    assert place_of(KeyError()) == "KeyError"


def test_lines_by_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    incidents = Incidents(by_logging(logging.getLogger("trio_spool.engine")))
    incidents.report("commits fail", level="error", reason="no space", submissions=3)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "commits fail: reason=no space submissions=3")
    ]


def test_a_log_that_can_not_be_written_is_no_reason_to_fail() -> None:
    def write(*line: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    now = 0.0
    incidents = Incidents(write, lambda: now)
    incidents.report("no room", lasts=True)
    incidents.report("no room", lasts=True)
    incidents.passed("no room")
    now += QUIET
    incidents.look()
    assert incidents.going_on() == []
    assert incidents.counts() == {"no room": 2}


def test_what_passes_in_one_place_says_nothing_of_another(log: Log) -> None:
    log.incidents.report("no room", place="a", lasts=True)
    log.incidents.report("no room", place="b", lasts=True)
    log.incidents.passed("no room", "a")
    log.after(QUIET)
    assert [(event, details.get("place")) for event, details in log.lines[2:]] == [("no room: over", "a")]
    log.incidents.passed("no room")
    log.after(QUIET)
    assert log.lines[3][1]["place"] == "b"
