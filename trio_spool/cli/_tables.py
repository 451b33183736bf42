"""Tables: for people as wide as the terminal, and for programs as lines of cells with tabs between them.

A table is for people if standard output is a terminal, or if the variable COLUMNS says how wide one is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import click

from .._formats import visible


def for_people() -> bool:
    """Whether standard output is read by people."""
    return (sys.stdout is not None and sys.stdout.isatty()) or os.environ.get("COLUMNS", "").isdecimal()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. The cells are shown as they are: brackets in them are not markup, and only their line breaks are obeyed."""
    if for_people():
        from ._wide_tables import print_wide  # late, because rich takes longer to import than many a command to run

        print_wide(columns, [["\n".join(map(visible, cell.split("\n"))) for cell in row] for row in rows])
        return
    for row in rows:
        cells = [*row, *[""] * (len(columns) - len(row))]
        click.echo("\t".join(visible("; ".join(cell.split("\n"))) for cell in cells))
