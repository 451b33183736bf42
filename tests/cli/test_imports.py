"""Commands load what they need: each import would be paid for at every start."""

from __future__ import annotations

import subprocess
import sys

import click
import click.testing
import pytest

from trio_spool.cli import main
from trio_spool.cli._commands import COMMANDS

SCRIPT = """
import sys
from trio_spool.cli import main
try:
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
# Nobody listens on this port, so that a command has loaded all that it needs to connect.
NOWHERE = "127.0.0.1:1"
CLIENTS = [
    ["get", NOWHERE, "key"],
    ["set", NOWHERE, "key", "value"],
    ["delete", NOWHERE, "key"],
    ["incr", NOWHERE, "key"],
    ["touch", NOWHERE, "key", "1m"],
    ["expire", NOWHERE, "key"],
    ["keys", NOWHERE],
    ["flush", NOWHERE],
    ["stat", NOWHERE],
    ["ping", NOWHERE],
    ["top", "--once", NOWHERE],
    ["scan", NOWHERE],
    ["dump", NOWHERE],
    ["load", NOWHERE, __file__],
    ["backup", NOWHERE, "/dev/null/none"],
    ["bucket", "list", NOWHERE],
    ["collection", "list", NOWHERE],
]


def loaded(*arguments: str) -> set[str]:
    """Return the modules that a command loads."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], []], ids=" ".join)
def test_version_and_help_load_click_alone(arguments: list[str]) -> None:
    modules = loaded(*arguments)
    assert not {"trio", "attr", "rich", "lmdb", "structlog", "ssl"} & modules
    assert {name for name in modules if name.startswith("trio_spool")} == {
        "trio_spool", "trio_spool._version", "trio_spool.cli", "trio_spool.cli._commands", "trio_spool.cli._errors",
        "trio_spool.cli._interrupts", "trio_spool.cli._streams",
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [*CLIENTS, *([*words[:-1], "--help"] for words in CLIENTS)], ids=" ".join)
def test_clients_load_neither_the_server_nor_a_database(arguments: list[str]) -> None:
    modules = loaded(*arguments)
    assert "trio_spool.client" in modules
    assert not {"lmdb", "structlog", "prometheus_client", "trio_spool.server", "trio_spool.engine"} & modules


def test_users_load_no_event_loop() -> None:
    assert not {"trio", "lmdb", "rich"} & loaded("user", "list", "--users", "/dev/null/none")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_they_say(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command.name == name
    assert COMMANDS[name].help == command.get_short_help_str(limit=200)
    assert COMMANDS[name].help in " ".join(click.testing.CliRunner().invoke(main, ["--help"]).output.split())


def test_there_is_no_such_command() -> None:
    assert main.get_command(click.Context(main), "nonsense") is None
