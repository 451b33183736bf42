"""What ``top`` says: rates and latencies of the time between two readings, as an object for JSON and for the screen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ._statistic_values import NUMBER, parse_json
from ._timings import Timings
from ._top_latencies import latencies
from ._top_readings import CONNECTIONS, ENGINE, GENERAL, LOOP, SCANS, SPOOL, TASKS, TIMINGS, History, Rows

# Counters, and what is measured: in the order in which JSON has them.
_RATES: Final = (
    "bytes_read", "bytes_written", "cmd_get", "cmd_set", "cmd_touch", "cmd_flush", "get_hits", "get_misses", "delete_hits",
    "delete_misses", "total_connections", "rejected_connections", "auth_errors", "command_failures", "bad_requests", "evictions",
)  # fmt: skip
_NOW: Final = {
    GENERAL: ("uptime", "curr_connections", "max_connections", "curr_items", "bytes", "threads"),
    LOOP: ("lag", "lag_p99", "lag_max"),
    SPOOL: ("workers", "workers_busy", "producers_waiting_for_worker", "depth", "buffered", "buffered_max"),
    ENGINE: ("items", "queued", "disk_bytes", "commit_mean", "commit_p99"),
}
_ENGINE_RATES: Final = ("operations", "commits", "expired", "evictions")
# The connections that JSON has: the busiest ones. Picked, not measured.
MOST_CONNECTIONS: Final = 20
_MOST_DIGITS: Final = 40
BYTES: Final = "bytes"
COMMANDS: Final = "commands"
_CONNECTION: Final = ("peer", "agent", "user", "bucket", "waits_for", "held", "idle_seconds")


def report(server: str, history: History, order: str = BYTES) -> dict[str, Any]:
    """Describe a server.

    Args:
        server: Its address.
        history: The last two readings.
        order: By what connections are busy: `BYTES` or `COMMANDS`.
    """
    before, now = history.pair(GENERAL)
    values = {} if now is None else now.values
    commands = _commands(*history.pair(TIMINGS))
    rates = _rates(before, now, _RATES)
    if rates:
        timed = [each["rate"] for each in commands.values() if each["rate"] is not None]
        counted = [rate for name, rate in rates.items() if name.startswith("cmd_")]
        rates = {"commands": round(sum(timed or counted), 3), **rates}
    result: dict[str, Any] = {
        "server": server,
        "at": round(time.time(), 3),
        "seconds": round(now.at - before.at, 6) if before is not None and now is not None else None,
        "restarted": history.restarted,
        "version": values.get("version", ""),
        "rates": rates,
        "general": _now(history, GENERAL),
        "commands": commands,
    }
    for group in (LOOP, SPOOL, ENGINE):
        if found := _now(history, group):
            result[group] = found
    if (engine := _rates(*history.pair(ENGINE), _ENGINE_RATES)) and ENGINE in result:
        result[ENGINE]["rates"] = engine
    result |= _listed(history, order)
    result["missing"] = {name: reason for name, reason in history.missing.items() if reason}
    return result


def _listed(history: History, order: str) -> dict[str, Any]:
    """Return what there are lists of, as far as the server has it."""
    result: dict[str, Any] = {}
    before, now = history.pair(CONNECTIONS)
    if now is not None:
        result["connections"] = _busiest(before, now, order)
    _, tasks = history.pair(TASKS)
    if tasks is not None:
        result["tasks"] = list(_objects(tasks, background=False))
        result["background"] = [each for each in _objects(tasks, background=True) if each.get("state") == "working"]
    _, scans = history.pair(SCANS)
    if scans is not None:
        numbers = {name: number(scans.values.get(name)) for name in ("open", "open_max", "waiting")}
        result["scans"] = {**numbers, "running": [{"uuid": name, **value} for name, value in _described(scans)]}
    return result


def number(text: str | None) -> int | float | None:
    """Return a number, or None if the text is none."""
    if text is None or len(text) > _MOST_DIGITS or not NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdecimal() else _finite(float(text))


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def growth(before: float, now: float) -> float:
    """Return by how much a counter has grown. One that is less than before has been reset meanwhile: it has grown from 0 since."""
    return now - before if now >= before else max(now, 0)


def _rate(before: float | None, now: float | None, seconds: float) -> float | None:
    if before is None or now is None or seconds <= 0:
        return None
    return round(growth(before, now) / seconds, 3)


def _rates(before: Rows | None, now: Rows | None, names: tuple[str, ...]) -> dict[str, float]:
    if before is None or now is None:
        return {}
    found = {
        name: _rate(number(before.values.get(name)), number(now.values.get(name)), now.at - before.at) for name in names
    }  # fmt: skip
    return {name: rate for name, rate in found.items() if rate is not None}


def _now(history: History, group: str) -> dict[str, float]:
    _, rows = history.pair(group)
    found = {} if rows is None else {name: number(rows.values.get(name)) for name in _NOW[group]}
    return {name: value for name, value in found.items() if value is not None}


def _commands(before: Rows | None, now: Rows | None) -> dict[str, dict[str, Any]]:
    """Return the rate and the latencies of each command: of the time between two readings, if the server counts by ranges."""
    if now is None:
        return {}
    seconds = 0.0 if before is None else now.at - before.at
    found = latencies({} if before is None else before.values, now.values)
    if found or any("," in name for name in now.values):
        for each in found.values():
            each["rate"] = round(each["count"] / seconds, 3) if seconds > 0 else None
            each["since"] = "last reading" if before is not None else "reset"
        return found
    return _summaries(before, now, seconds)


def _summaries(before: Rows | None, now: Rows, seconds: float) -> dict[str, dict[str, Any]]:
    """Return the same of a server that does not count by ranges: its latencies are those since its start."""
    result, earlier = {}, _figures({} if before is None else before.values)
    for command, figures in _figures(now.values).items():
        count = number(figures.get("count"))
        was = number(earlier.get(command, {}).get("count", "0")) if before is not None else None
        rest = {name: number(figures.get(name)) for name in ("mean", "p50", "p99")}
        result[command] = {**rest, "rate": _rate(was, count, seconds), "since": "reset"}
    return {name: each for name, each in result.items() if each["rate"] != 0}


def _figures(values: Mapping[str, str]) -> dict[str, dict[str, str]]:
    timings = Timings()
    for name, value in list(values.items())[:10_000]:
        timings.add(name, value)
    return timings.commands


def _described(rows: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the object of each row that has one."""
    for name, value in rows.values.items():
        if value.startswith("{"):
            try:
                found = parse_json(value)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield name, found


def _objects(rows: Rows, *, background: bool) -> Iterator[dict[str, Any]]:
    """Yield what runs, or what goes on in the background, with its bucket."""
    for name, value in _described(rows):
        kind, _, rest = name.partition(":")
        if background and kind == "background":
            yield {"bucket": rest.rpartition(":")[0], **value}
        elif not background and name.isdecimal():
            yield value


def _busiest(before: Rows | None, now: Rows, order: str) -> list[dict[str, Any]]:
    seconds = 0.0 if before is None else now.at - before.at
    earlier = {} if before is None else dict(_described(before))
    found = []
    for name, value in _described(now):
        # One that was not there before has done everything since then.
        was = earlier.get(name, {}) if before is not None else None
        rates = {key: _rate_of(key, was, value, seconds) for key in ("bytes_read", "bytes_written", "commands")}
        found.append({"number": name, **{key: value.get(key) for key in _CONNECTION}, "rates": rates})

    def busy(each: dict[str, Any]) -> tuple[float, ...]:
        rates = each["rates"]
        moved = (rates["bytes_read"] or 0) + (rates["bytes_written"] or 0)
        return (rates["commands"] or 0, moved) if order == COMMANDS else (moved, rates["commands"] or 0)

    return sorted(found, key=busy, reverse=True)[:MOST_CONNECTIONS]


def _rate_of(name: str, was: Mapping[str, Any] | None, now: Mapping[str, Any], seconds: float) -> float | None:
    before, value = 0 if was is None else was.get(name, 0), now.get(name)
    if was is None or not _is_number(before) or not _is_number(value):
        return None
    return _rate(before, value, seconds)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 10**_MOST_DIGITS
