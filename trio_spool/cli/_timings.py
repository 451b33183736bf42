"""The timings of commands as a table, or as nested JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from ._errors import ConnectionFailedError
from ._statistic_values import NUMBER, value_as_json

COLUMNS: Final = ("command", "count", "mean", "p50", "p99")
_FIGURE: Final = re.compile(r"(?P<command>.+)_(?P<figure>count|mean|p50|p90|p99|p999|max)", re.DOTALL)
# Picked, not measured: a server has some seven for each of its hundred commands. It bounds what a hostile one makes us hold.
_MOST_ROWS: Final = 10_000
# Units of time, in microseconds.
_UNITS: Final = (("s", 1_000_000), ("ms", 1_000), ("us", 1))


class Timings:
    """Collects the rows of the group ``timings``.

    Attributes:
        commands: The figures of each command, by their names: texts of numbers. All but ``count`` are microseconds.
        others: The rows that are not of a command.
    """

    def __init__(self) -> None:
        self.commands: dict[str, dict[str, str]] = {}
        self.others: list[tuple[str, str]] = []
        self._rows = 0

    def add(self, name: str, value: str) -> None:
        """Add a row.

        Raises:
            ConnectionFailedError: There are too many.
        """
        self._rows += 1
        if self._rows > _MOST_ROWS:
            raise ConnectionFailedError(f"the server sent more than {_MOST_ROWS} rows of timings")
        match = _FIGURE.fullmatch(name)
        if match is not None and NUMBER.fullmatch(value):
            self.commands.setdefault(match["command"], {})[match["figure"]] = value
        else:
            self.others.append((name, value))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of each command for `COLUMNS`."""
        for command, figures in self.commands.items():
            times = (show_microseconds(float(figures[name])) if name in figures else "" for name in COLUMNS[2:])
            yield command, figures.get("count", ""), *times

    def as_json(self) -> str:
        """Return one JSON object: an object for each command, and what else there is."""
        parts = []
        for command, figures in self.commands.items():
            inner = ", ".join(f"{json.dumps(name)}: {value}" for name, value in figures.items())
            parts.append(f"{json.dumps(command)}: {{{inner}}}")
        parts += [f"{json.dumps(name)}: {value_as_json('timings', name, value)}" for name, value in self.others]
        return f"{{{', '.join(parts)}}}"


def show_microseconds(microseconds: float) -> str:
    """Return a time with three digits and a unit."""
    for unit, factor in _UNITS:
        if microseconds >= factor:
            return f"{three_digits(microseconds / factor)} {unit}"
    return f"{three_digits(microseconds)} us" if microseconds else "0 us"


def three_digits(number: float) -> str:
    """Return a number with at least three significant digits, and none behind the point that would be more than that."""
    places = 2 if number < 9.995 else 1 if number < 99.95 else 0
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text
