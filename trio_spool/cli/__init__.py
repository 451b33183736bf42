"""The command line: ``trio-spool``."""

from __future__ import annotations

import io
import sys

import click

from ._backup import backup, restore, verify
from ._buckets import bucket
from ._collections import collection
from ._commands import Commands
from ._items import delete, get, set_
from ._load import load
from ._scan import dump, scan
from ._serve import serve
from ._stat import stat
from ._users import user


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trio-spool")
def main() -> None:
    """A durable key-value server that speaks the memcached binary protocol, and a client for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding is, what it lacks is no error


for command in (serve, stat, get, set_, delete, scan, dump, load, backup, verify, restore, bucket, collection, user):
    main.add_command(command)
