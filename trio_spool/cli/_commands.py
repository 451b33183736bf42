"""All commands: where they are, and how they end if they are interrupted or nobody reads their output.

The module of a command is imported when the command is used. ``trio-spool --version`` and ``trio-spool --help`` therefore load
click alone, and a command that talks to a server loads neither the server nor a database.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import click

from ._interrupts import INTERRUPTED, importing, run_interruptibly
from ._streams import drop_output

T = TypeVar("T")
# What click raises, since version 8.2, to print a page of help.
_HELP: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())


ITEMS: Final = "Items"
SCANS: Final = "Scans and dumps"
ADMINISTRATION: Final = "Administration"
FILES: Final = "Files"
SERVER: Final = "Server"


class Place(NamedTuple):
    """Where a command is.

    Attributes:
        module: The module in this package.
        name: The command's name in the module.
        help: What the list of commands says of it: the first sentence of its help.
        section: The section of the list in which it stands.
    """

    module: str
    name: str
    help: str
    section: str


# In the order in which the list shows them.
COMMANDS: Final = {
    "get": Place("_get", "get", "Print the value of each KEY.", ITEMS),
    "set": Place("_items", "set_", "Store VALUE under KEY.", ITEMS),
    "delete": Place("_items", "delete", "Delete the item of each KEY.", ITEMS),
    "incr": Place("_counting", "incr", "Add NUMBER, or 1, to the number in KEY, and print the result.", ITEMS),
    "decr": Place("_counting", "decr", "Subtract NUMBER, or 1, from the number in KEY, and print the result.", ITEMS),
    "touch": Place("_expiring", "touch", "Let the item KEY expire after TIME, counted from now.", ITEMS),
    "expire": Place("_expiring", "expire", "Print when the item KEY expires, or, with TIME, change that, as touch does.", ITEMS),
    "keys": Place("_keys", "keys", "Print the keys of all items, in order, one on each line.", SCANS),
    "scan": Place("_scan", "scan", "Print documents, in the order of their keys.", SCANS),
    "dump": Place("_dump", "dump", "Write all documents as NDJSON, in the form that load reads.", SCANS),
    "load": Place("_load", "load", "Store every document of FILE.", SCANS),
    "bucket": Place("_buckets", "bucket", "Create, list and delete the buckets of a server.", ADMINISTRATION),
    "collection": Place("_collections", "collection", "Create, list and drop the collections of a bucket.", ADMINISTRATION),
    "flush": Place("_flush", "flush", "Delete all items of a bucket, or of one collection.", ADMINISTRATION),
    "user": Place("_users", "user", "Decide who may log in to a server, and what each user may do.", ADMINISTRATION),
    "backup": Place("_backup", "backup", "Copy the databases of all buckets from a running server into DIRECTORY.", FILES),
    "verify": Place("_restore", "verify", "Check that the backup in DIRECTORY is complete and undamaged.", FILES),
    "restore": Place("_restore", "restore", "Make the new data directory DATA_DIR from the backup in DIRECTORY.", FILES),
    "check": Place("_check", "check", "Verify every page and every item of the data directory DATA_DIR.", FILES),
    "compact": Place("_compact", "compact", "Give space back that the data directory DATA_DIR no longer needs.", FILES),
    "serve": Place("_serve", "serve", "Run the server until SIGTERM or SIGINT.", SERVER),
    "ping": Place("_ping", "ping", "Ask a server whether it is there, and print how long its answer took.", SERVER),
    "stat": Place("_stat", "stat", "Print statistics of a server.", SERVER),
    "top": Place("_top", "top", "Show what a server does now: rates, latencies, the busiest connections, and what runs.", SERVER),
}
EXAMPLES: Final = (
    ("trio-spool serve ./data", "Run a server, at 127.0.0.1:11210."),
    ("trio-spool set greeting hello", "Store an item there."),
    ("trio-spool get greeting", "Print its value."),
    ("trio-spool keys -s db.example.com", "Print all keys of another server; so does TRIO_SPOOL_SERVER."),
    ("trio-spool dump all.ndjson.zst", "Save all documents."),
)


class Group(click.Group):
    """A group of commands that helps with a name that it lacks."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:  # fmt: skip
        """Find a command by its name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches  # is needed for a mistake only

            names = self.list_commands(ctx)
            likely = ["--help"] if args[0] == "help" else get_close_matches(args[0], names)
            hint = f"did you mean {' or '.join(likely)}?" if likely else f"the commands are {', '.join(names)}"
            raise click.UsageError(f"no command is named {args[0]!r:.300}; {hint}", ctx) from None


class Commands(Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; return None if there is none of that name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        if ctx.resilient_parsing:
            from ._completing import find_command

            if (found := find_command(cmd_name)) is not None:
                return found
        with importing():
            command: click.Command = getattr(importlib.import_module(f".{place.module}", __package__), place.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        width = max(map(len, COMMANDS))
        for section in dict.fromkeys(place.section for place in COMMANDS.values()):
            with formatter.section(section):
                rows = [(name.ljust(width), place.help) for name, place in COMMANDS.items() if place.section == section]
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples."""
        with formatter.section("Examples"):
            formatter.write_dl(EXAMPLES)
        formatter.write_paragraph()
        formatter.write_text("trio-spool COMMAND --help explains a command.")

    def make_context(self, *arguments: Any, **values: Any) -> click.Context:
        """Parse the arguments, which may print a help page."""
        return _run(lambda: super(Commands, self).make_context(*arguments, **values))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments in front of the command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            name = exc.option_name
            hint = f"options of a command stand behind its name, as in: {ctx.command_path} get {name} …"
            raise click.UsageError(f"no option is named {name!r:.80}; {hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        return _run(lambda: super(Commands, self).invoke(ctx))


def _run(work: Callable[[], T]) -> T:
    """Run a part of the program.

    It exits with status 0 when the reader of its output has gone away, as ``head`` does, and with 130 at Ctrl-C.
    """
    try:
        return run_interruptibly(work, _interrupted)
    except BrokenPipeError:
        drop_output()
        sys.exit(0)
    except click.UsageError as exc:
        if not isinstance(exc, _HELP):
            from .._formats import visible  # is not needed for a page of help

            vars(exc)["message"] = visible(exc.message)  # an argument may be the name of a file that somebody else has made
        raise


def _interrupted() -> NoReturn:
    drop_output()
    sys.exit(INTERRUPTED)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. The cells are shown as they are: brackets in them are not markup, and only their line breaks are obeyed."""
    with importing():
        from ._tables import print_table

    print_table(columns, rows)
