"""Every command line in the documentation is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from trio_spool.cli import main
from trio_spool.cli._commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "newsfragments").glob("*.md"))]
# Beginnings of a command line in a block, and all of one in the text.
BLOCK = re.compile(
    r"^ {0,8}(?:\$ |[A-Z_]+=\S+ |.*&& |.*\| (?:xargs -0 )?|ssh \w+ |docker exec (?:-i )?\w+ )?(trio-spool [a-z].*)$", re.MULTILINE
)
INLINE = re.compile(r"``(trio-spool [a-z][^`]*)``|(?<!`)`(trio-spool [a-z][^`]*)`(?!`)")


def command_lines() -> Iterator[str]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in (*BLOCK.finditer(text), *INLINE.finditer(text)):
            line = next(filter(None, match.groups()))
            if line.split()[1] not in COMMANDS:
                continue  # a sentence
            # What a shell, and not the program, makes of the rest: a comment, a redirection, a pipe, another command.
            yield re.split(r"\s+(?:#|[<>|&])", line)[0].strip()


LINES = sorted({line for line in command_lines() if "…" not in line and "`" not in line and "[" not in line})


def test_there_are_some() -> None:
    assert len(LINES) > 40
    for name in ("get", "set", "scan", "dump", "load", "user roles", "serve", "stat"):
        assert any(line.startswith(f"trio-spool {name}") for line in LINES), name


@pytest.mark.parametrize("line", LINES)
def test_a_command_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_SPOOL_USERS", "users.json")
    _, name, *rest = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    assert command is not None, line
    context = click.Context(command, info_name=name)
    while isinstance(command, click.Group):
        if not rest:
            return  # the text speaks of the whole group
        command = command.get_command(context, rest.pop(0))
        assert command is not None, line
    if not rest:
        return  # the text speaks of the command
    try:
        command.make_context(name, rest)
    except (click.exceptions.Exit, click.MissingParameter):
        pass  # --help; or the text leaves arguments out, or xargs adds them
    except click.BadOptionUsage as exc:
        assert "requires an argument" in exc.format_message(), line  # the text speaks of the option
    except click.BadParameter as exc:
        assert "does not exist" in exc.format_message(), (line, exc.format_message())
