"""``trio-spool stat``."""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import click

from .._formats import visible
from ..client import Client, Statistics
from ._commands import print_table
from ._common import json_option, printable, run_with_client, server_argument, server_command
from ._output import Lines, standard_output
from ._session import Server, session_options
from ._tables import for_people

# The rows of the longest table, and its characters. More is printed as it arrives, a tab between name and value, because a table
# needs all rows before it prints the first. Picked, not measured: nobody reads a longer table.
TABLE_ROWS: Final = 500
TABLE_SIZE: Final = 64 * 1024


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

    With --json, each statistic is an object on its own line.
    """

    async def work(client: Client) -> list[tuple[str, str]]:
        lines = Lines(standard_output(), sys.stdout.encoding, "backslashreplace")
        waiting: list[tuple[str, str]] | None = [] if for_people() else None
        size = 0
        async with client.stat(os.fsencode(_wanted(group))) as statistics:
            while (found := await _next_of(server, statistics)) is not None:
                name, value = found
                if as_json:
                    await lines.add(json.dumps({"name": printable(name), "value": printable(value)}) + "\n")
                elif waiting is None:
                    await lines.add(_line(visible(name), visible(value)))
                else:
                    waiting.append((visible(name), visible(value)))
                    size += len(name) + len(value)
                    if len(waiting) > TABLE_ROWS or size > TABLE_SIZE:
                        for earlier in waiting:
                            await lines.add(_line(*earlier))
                        waiting = None
        await lines.write()
        return waiting or []

    missing = f"there is no group of statistics {group!r}; see trio-spool stat --help. A group and its argument must be in quotes"
    if rows := run_with_client(server, work, missing=missing):
        print_table(["statistic", "value"], rows)


def _wanted(group: str) -> str:
    """Return what to ask for: of the timings, what a person can read."""
    return "timings summary" if group.strip() == "timings" else group


def _line(name: str, value: str) -> str:
    return f"{name}\t{value}\n"


async def _next_of(server: Server, statistics: Statistics) -> tuple[bytes, bytes] | None:
    """Return the next statistic, or None at the end."""
    with server.answering():
        try:
            return await statistics.__anext__()
        except StopAsyncIteration:
            return None
