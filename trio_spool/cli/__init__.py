"""The command line: ``trio-spool``."""

from __future__ import annotations

import io
import sys

import click

from .._version import __version__
from . import _interrupts, _streams
from ._commands import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trio-spool")
def main() -> None:
    """Run a durable key-value server that speaks the memcached binary protocol, or work with one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # characters that the terminal's encoding lacks are no error


def run_program() -> None:
    """Run the command line in a process that exists for nothing else, and exit with its status."""
    _interrupts.take_over()
    _streams.take_over()
    main(prog_name="trio-spool")
