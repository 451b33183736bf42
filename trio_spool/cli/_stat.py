"""``trio-spool stat``."""

from __future__ import annotations

import json
import os
import sys

import click
import trio
from rich.table import Table
from rich.text import Text

from ..client import Client, Statistics
from ._commands import print_table
from ._common import ANSWER_TIMEOUT, json_option, printable, run_with_client, server_argument, visible
from ._output import Lines, standard_output
from ._session import Server, session_options

# More rows than this are printed as they come, in plain columns: a table must know them all before it prints the first.
TABLE_ROWS = 500


@click.command()
@server_argument
@click.argument("group", required=False, default="")
@json_option
@session_options
def stat(server: Server, group: str, as_json: bool) -> None:
    """Print a GROUP of statistics, or, without one, the general ones.

    The groups are settings, connections, timings, engine, spool, keys, collections, tasks, range-scans, and others; reset sets
    counters and timings to nothing.

    With --json, one object a line.
    """

    async def work(client: Client) -> None:
        lines = Lines(standard_output(), sys.stdout.encoding, "backslashreplace")
        waiting: list[tuple[Text, Text]] | None = []
        async with client.stat(os.fsencode(group)) as statistics:
            while (found := await _next_of(statistics)) is not None:
                name, value = found
                if as_json:
                    await lines.add(json.dumps({"name": printable(name), "value": printable(value)}) + "\n")
                elif waiting is None:
                    await lines.add(_line(visible(name), visible(value)))
                else:
                    waiting.append((visible(name), visible(value)))
                    if len(waiting) > TABLE_ROWS:
                        for earlier in waiting:
                            await lines.add(_line(*earlier))
                        waiting = None
        await lines.write()
        if waiting:
            table = Table("statistic", "value")
            for row in waiting:
                table.add_row(*row)
            print_table(table)

    missing = (
        f"there is no group of statistics {group!r}; trio-spool stat --help names them. A group's argument is part of it, in quotes"
    )
    run_with_client(server, work, missing=missing)


def _line(name: Text, value: Text) -> str:
    return f"{name.plain}  {value.plain}\n"


async def _next_of(statistics: Statistics) -> tuple[bytes, bytes] | None:
    """Return the next statistic; None if there are no more."""
    with trio.fail_after(ANSWER_TIMEOUT):
        try:
            return await statistics.__anext__()
        except StopAsyncIteration:
            return None
