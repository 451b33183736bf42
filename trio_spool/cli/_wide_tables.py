"""Tables for people. Imported late, because rich takes longer to import than many a command to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

# Cells of a terminal. Picked: with less for a value beside its name, it stands below the name.
_LEAST: Final = 16


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `Commands` how the process ends."""
        raise BrokenPipeError


def print_wide(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, or, if that is too wide, one cell on a line, with the name of its column. Nothing is cut.

    Args:
        columns: The names of the columns.
        rows: The rows, whose cells have nothing that a terminal obeys but line breaks.
    """
    console = _Console(highlight=False, markup=False)
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    if _width(table, console) <= console.width:
        console.print(table)
        return
    for number, row in enumerate(rows):
        if len(columns) == 2:
            lines = _pair(row[0], row[1], console.width)
        else:
            lines = _record(columns, row, console.width)
            if number:
                console.print()
        for line in lines:
            console.print(Text(line), soft_wrap=True)


def _width(table: Table, console: Console) -> int:
    """Return how wide a table would be if it had all the room that it needs."""
    return Measurement.get(console, console.options.update(max_width=1_000_000), table).maximum


def _pair(name: str, value: str, width: int) -> Iterator[str]:
    """Yield the lines of a name and its value."""
    if "\n" not in value and cell_len(name) + 2 + cell_len(value) <= width:
        yield f"{name}  {value}"
        return
    yield from _folded(name, width)
    for line in _folded(value, width - 2):
        yield f"  {line}"


def _record(columns: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """Yield the lines of a row, a cell after the other."""
    indent = max(map(cell_len, columns)) + 2
    for name, cell in zip(columns, row, strict=False):
        if width - indent < _LEAST:
            yield from _pair(name, cell, width)
            continue
        first, *more = _folded(cell, width - indent)
        yield f"{name}{' ' * (indent - cell_len(name))}{first}".rstrip()
        for line in more:
            yield " " * indent + line


def _folded(text: str, width: int) -> list[str]:
    """Return text in lines that are not wider than `width`."""
    return [piece for line in text.split("\n") for piece in (chop_cells(line, max(width, 2)) if line else [""])]
