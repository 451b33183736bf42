"""``trio-spool stat``."""

from __future__ import annotations

import json
import os
import sys
from typing import Final, Protocol

import click

from .._formats import visible
from ..client import Client, ServerError, Statistics
from ._commands import print_table
from ._common import json_option, printable, run_with_client, server_argument, server_command
from ._output import Lines, standard_output
from ._session import Server, session_options
from ._statistic_values import value_as_json
from ._tables import for_people
from ._timings import COLUMNS, Timings

# The rows of the longest table, and its characters. More is printed as it arrives, a tab between name and value, because a table
# needs all rows before it prints the first. Picked, not measured: nobody reads a longer table.
TABLE_ROWS: Final = 500
TABLE_SIZE: Final = 64 * 1024
_TIMINGS: Final = "timings"
# What to ask for to get figures that a person can read. Servers before this one know only the second.
_SUMMARIES: Final = ("timings summary", _TIMINGS)


@server_command()
@server_argument
@click.argument("group", required=False, default="")
@json_option
@session_options
def stat(server: Server, group: str, as_json: bool) -> None:
    """Print statistics of a server.

    GROUP is one of settings, connections, timings, engine, spool, keys, collections, tasks, range-scans, and others. Without
    it, the general statistics are printed. The group reset sets counters and timings to zero. Some groups take an argument
    after a blank: put both in quotes.

    With --json, the whole group is one object on one line: numbers, booleans and objects are such, and timings has an object
    for each command, in microseconds.
    """
    wanted = _SUMMARIES if group.strip() == _TIMINGS else (group,)
    printer: Printer = (
        TimingsPrinter(as_json=as_json) if wanted is _SUMMARIES else ObjectPrinter(group) if as_json else RowsPrinter()
    )

    async def work(client: Client) -> None:
        for name in wanted[:-1]:
            try:
                await _ask(server, client, name, printer)
            except ServerError:
                continue  # it is an older server, or one of another make; whatever else is wrong shows once more
            return
        await _ask(server, client, wanted[-1], printer)

    missing = f"there is no group of statistics {group!r}; see trio-spool stat --help. A group and its argument must be in quotes"
    run_with_client(server, work, missing=missing)
    printer.print_rest()


class Printer(Protocol):
    """Prints statistics as they arrive, or at the end."""

    async def add(self, name: bytes, value: bytes) -> None:
        """Take a statistic."""

    async def end(self) -> None:
        """Take note that there are no more."""

    def print_rest(self) -> None:
        """Print what was kept for the end, when the connection is closed."""


class RowsPrinter:
    """Prints a table; or one line for each statistic, if programs read it, or if there are too many."""

    def __init__(self) -> None:
        self._lines = _lines()
        self._waiting: list[tuple[str, str]] | None = [] if for_people() else None
        self._size = 0

    async def add(self, name: bytes, value: bytes) -> None:
        """Take a statistic."""
        row = visible(name), visible(value)
        if self._waiting is None:
            await self._lines.add(_line(*row))
            return
        self._waiting.append(row)
        self._size += len(name) + len(value)
        if len(self._waiting) > TABLE_ROWS or self._size > TABLE_SIZE:
            for earlier in self._waiting:
                await self._lines.add(_line(*earlier))
            self._waiting = None

    async def end(self) -> None:
        """Print the lines that are left."""
        await self._lines.write()

    def print_rest(self) -> None:
        """Print the table."""
        if self._waiting:
            print_table(["statistic", "value"], self._waiting)


class ObjectPrinter:
    """Prints one JSON object, piece by piece: nobody has to hold the keys of a whole store."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._lines = _lines()
        self._begun = False

    async def add(self, name: bytes, value: bytes) -> None:
        """Print a statistic."""
        key = printable(name)
        before = ", " if self._begun else "{"
        self._begun = True
        await self._lines.add(f"{before}{json.dumps(key)}: {value_as_json(self._group, key, printable(value))}")

    async def end(self) -> None:
        """Print the end of the object, which may be empty."""
        await self._lines.add("}\n" if self._begun else "{}\n")
        await self._lines.write()

    def print_rest(self) -> None:
        """Do nothing: all is printed."""


class TimingsPrinter:
    """Prints the timings of commands: a table, or an object for each command."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._timings = Timings()

    async def add(self, name: bytes, value: bytes) -> None:
        """Take a statistic."""
        self._timings.add(printable(name), printable(value))

    async def end(self) -> None:
        """Do nothing: a table needs all rows."""

    def print_rest(self) -> None:
        """Print everything."""
        if self._as_json:
            click.echo(self._timings.as_json())
            return
        if self._timings.commands:
            print_table(COLUMNS, list(self._timings.rows()))
        if self._timings.others:
            print_table(["statistic", "value"], self._timings.others)


def _lines() -> Lines:
    return Lines(standard_output(), sys.stdout.encoding, "backslashreplace")


def _line(name: str, value: str) -> str:
    return f"{name}\t{value}\n"


async def _ask(server: Server, client: Client, group: str, printer: Printer) -> None:
    """Ask for a group and hand what arrives to the printer."""
    async with client.stat(os.fsencode(group)) as statistics:
        while (found := await _next_of(server, statistics)) is not None:
            await printer.add(*found)
    await printer.end()


async def _next_of(server: Server, statistics: Statistics) -> tuple[bytes, bytes] | None:
    """Return the next statistic, or None at the end."""
    with server.answering():
        try:
            return await statistics.__anext__()
        except StopAsyncIteration:
            return None
