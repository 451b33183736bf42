"""Makes the table that completion reads: run this after a change of a command or an option.

python tests/support/completions.py
"""

from __future__ import annotations

import json
from typing import Any

import click

from trio_spool.cli import main
from trio_spool.cli._completing import TABLE, described


def text() -> str:
    """The table, an option a line, so that changes of two people rarely meet."""
    context = click.Context(main)
    return _table({name: described(main.get_command(context, name)) for name in sorted(main.list_commands(context))}, 0) + "\n"


def _table(value: Any, depth: int) -> str:
    if isinstance(value, dict) and "names" not in value:
        lines = [f"{json.dumps(key)}: {_table(inner, depth + 1)}" for key, inner in value.items()]
        return _block("{", lines, "}", depth)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _block("[", [_table(inner, depth + 1) for inner in value], "]", depth)
    return json.dumps(value, ensure_ascii=False)


def _block(begin: str, lines: list[str], end: str, depth: int) -> str:
    indent = "\n" + " " * (depth + 1)
    return f"{begin}{indent}{f',{indent}'.join(lines)}{indent[:-1]}{end}"


if __name__ == "__main__":
    TABLE.write_text(text(), encoding="utf-8")
