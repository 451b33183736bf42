"""The progress bar of commands that take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._interrupts import importing

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar(quiet: bool) -> Progress:
    """Return a bar with bytes, rate and remaining time, on standard error. It shows nothing if that is not a terminal."""
    with importing():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),  # a path, in which brackets are brackets
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
