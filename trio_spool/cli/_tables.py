"""Tables for people. Imported late, because rich takes longer to import than many a command to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._formats import visible


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `Commands` how the process ends."""
        raise BrokenPipeError


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. The cells are shown as they are: brackets in them are not markup, and only their line breaks are obeyed."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text("\n".join(map(visible, cell.split("\n")))) for cell in row))
    _Console().print(table)
