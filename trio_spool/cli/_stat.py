"""``trio-spool stat``."""

from __future__ import annotations

import json

import click
from rich.table import Table

from ..client import Client
from ._commands import print_table
from ._common import json_option, printable, run_with_client, server_argument
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
        waiting: list[tuple[str, str]] | None = []
        async with client.stat(group) as statistics:
            async for name, value in statistics:
                row = printable(name), printable(value)
                if as_json:
                    click.echo(json.dumps({"name": row[0], "value": row[1]}))
                elif waiting is None:
                    click.echo(f"{row[0]}  {row[1]}")
                else:
                    waiting.append(row)
                    if len(waiting) > TABLE_ROWS:
                        for earlier in waiting:
                            click.echo("  ".join(earlier))
                        waiting = None
        if waiting:
            table = Table("statistic", "value")
            for row in waiting:
                table.add_row(*row)
            print_table(table)

    run_with_client(server, work)
