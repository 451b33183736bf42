"""``trio-spool`` in the process of the tests."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from trio_spool.cli import main


def run(*arguments: object, status: int = 0, **options: Any) -> str:
    """Run a command, and return what it printed, errors included.

    Args:
        arguments: The words behind ``trio-spool``.
        status: The exit status that is expected.
        options: For `CliRunner.invoke`, such as `input` and `env`.
    """
    # pytest-xdist sets COLUMNS, by which tables are for people.
    environment = {"COLUMNS": None, **options.pop("env", {})}
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment, **options)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert "Traceback" not in result.output
    return result.output


def run_json(*arguments: object, **options: Any) -> Any:
    """Run a command with ``--json``, and return the one object that it printed."""
    return json.loads(run(*arguments, "--json", **options))


def run_rows(*arguments: object, **options: Any) -> list[Any]:
    """Run a command with ``--json``, and return the objects that it printed, one a line."""
    return [json.loads(line) for line in run(*arguments, "--json", **options).splitlines()]


def one_line(*arguments: object, **options: Any) -> str:
    """Run a command that fails, and return the one line that says why."""
    output = run(*arguments, status=1, **options)
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1
    return output
