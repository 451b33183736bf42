"""What the completion of a shell knows of the commands: a table, so that a press of TAB imports none of them.

``tests/support/completions.py`` makes the table, which is `TABLE`, from the commands, and a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

TABLE: Final = Path(__file__).with_name("completions.json")
_PATHS: Final = {
    "path": click.Path(), "file": click.Path(dir_okay=False), "directory": click.Path(file_okay=False), "text": click.STRING
}  # fmt: skip


def described(command: click.Command) -> dict[str, Any]:
    """Return what the table has of a command.

    The server as the first argument is left out, since it can't be completed.
    """
    if isinstance(command, click.Group):
        context = click.Context(command)
        commands = {name: command.get_command(context, name) for name in command.list_commands(context)}
        return {
            "help": command.get_short_help_str(200),
            "commands": {name: described(inner) for name, inner in commands.items() if inner is not None},
        }
    options = [_described_option(param) for param in command.params if isinstance(param, click.Option)]
    arguments = [_kind(param.type) for param in command.params if isinstance(param, click.Argument) and param.name != "server_word"]
    return {"help": command.get_short_help_str(200), "options": options, "arguments": arguments}


def _described_option(option: click.Option) -> dict[str, Any]:
    found: dict[str, Any] = {"names": [*option.opts, *option.secondary_opts], "help": option.help}
    if option.is_flag:
        found["flag"] = True
    else:
        found["kind"] = _kind(option.type)
    if option.multiple:
        found["multiple"] = True
    return found


def _kind(kind: click.ParamType) -> str | list[str]:  # type: ignore[type-arg, unused-ignore]
    if isinstance(kind, click.Choice):
        return list(kind.choices)
    if isinstance(kind, click.Path):
        return "directory" if not kind.file_okay else "path" if kind.dir_okay else "file"
    return "text"


def find_command(name: str) -> click.Command | None:
    """Return a command of the table, which can be completed but not run; None if the table lacks it."""
    found = json.loads(TABLE.read_bytes()).get(name)
    return None if found is None else _made(name, found)


def _made(name: str, found: Mapping[str, Any]) -> click.Command:
    if "commands" in found:
        commands = {inner: _made(inner, content) for inner, content in found["commands"].items()}
        return click.Group(name, commands=commands, help=found["help"])
    params: list[click.Parameter] = [_made_option(option) for option in found["options"]]
    # The address of a server may stand before the others, so that each place may have a file.
    kinds = [kind for kind in found["arguments"] if kind != "text"] or ["text"]
    params.append(click.Argument(["words"], nargs=-1, type=_type(kinds[0])))
    return click.Command(name, params=params, help=found["help"], context_settings={"help_option_names": ["-h", "--help"]})


def _made_option(option: Mapping[str, Any]) -> click.Option:
    if option.get("flag"):
        return click.Option(option["names"], is_flag=True, help=option["help"])
    return click.Option(
        option["names"], type=_type(option["kind"]), help=option["help"], multiple=option.get("multiple", False)
    )  # fmt: skip


def _type(kind: str | list[str]) -> click.ParamType:  # type: ignore[type-arg, unused-ignore]
    return click.Choice(kind) if isinstance(kind, list) else _PATHS[kind]
