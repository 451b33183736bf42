"""How all commands end when they are interrupted, or when nobody reads what they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# What shells say of a program that SIGINT has ended.
INTERRUPTED = 130


class Commands(click.Group):
    """The group that all commands are in."""

    def make_context(self, *arguments: Any, **values: Any) -> click.Context:
        """Parse the arguments, which may print a help."""
        with _ended_by_others():
            return super().make_context(*arguments, **values)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _ended_by_others():
            return super().invoke(ctx)


@contextmanager
def _ended_by_others() -> Iterator[None]:
    """End with status 0 if whoever reads our output has had enough, as `head` has, and with 130 at Ctrl-C."""
    try:
        yield
    except BrokenPipeError:
        _forget_output()
        sys.exit(0)
    except KeyboardInterrupt:
        _forget_output()
        sys.exit(INTERRUPTED)


def _forget_output() -> None:
    """Let what is still buffered go nowhere: at exit, it would be written to whom does not read, and might wait for ever."""
    with suppress(OSError):  # what tests have for standard output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `Commands` how we end."""
        raise BrokenPipeError


def print_table(table: Table) -> None:
    """Print a table."""
    _Console().print(table)
