"""``trio-spool top``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any, Final

import click

from ._common import json_option, run_with_server, server_argument, server_command
from ._errors import CliError
from ._interrupts import importing
from ._quantities import Duration
from ._session import Server, session_options
from ._top_report import BYTES, COMMANDS, report
from ._top_watcher import Watcher

# Lines that are shown without a terminal: enough for all that has a bound.
_LINES: Final = 100


@server_command()
@server_argument
@click.option(
    "--interval", "-i", type=Duration(endless=False, positive=True), default="2s", show_default=True,
    help="Ask the server this often. Rates are those of this time.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Print once, for the time of one interval. By default, go on until q or Ctrl-C.")
@click.option(
    "--sort", "order", type=click.Choice([BYTES, COMMANDS]), default=BYTES, show_default=True,
    help="What makes a connection busy. The keys b and c change it.",
)  # fmt: skip
@json_option
@session_options
def top(server: Server, interval: float, once: bool, order: str, as_json: bool) -> None:
    """Show what a server does now: rates, latencies, the busiest connections, and what runs.

    The user needs the role stats, for every bucket to see connections, tasks and scans. What a server does not have is left out.

    With --json, each report is an object on its own line; with --once, there is one.
    """
    watcher = Watcher(server, interval)
    if once:
        reader = run_with_server(server, watcher.read_twice)
        _print(report(str(server.address), reader.history, order), order, as_json=as_json)
    elif as_json:

        async def tell(failure: CliError | None) -> None:
            found = _failed(server, failure) if failure else report(str(server.address), watcher.reader.history, order)
            _print(found, order, as_json=True)

        run_with_server(server, lambda: watcher.run(tell))
    elif sys.stdout is None or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        raise click.UsageError("standard output is not a terminal that can be drawn on; use --once, or --json")
    else:
        with importing():
            from ._top_live import show

        run_with_server(server, lambda: show(watcher, order))


def _failed(server: Server, failure: CliError) -> dict[str, Any]:
    return {"server": str(server.address), "at": round(time.time(), 3), "error": failure.format_message()}


def _print(found: dict[str, Any], order: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        sys.stdout.flush()
        return
    with importing():
        from ._top_screen import lines

    for line in lines(found, shutil.get_terminal_size().columns, _LINES, order):
        click.echo(line)
