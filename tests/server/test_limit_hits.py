"""The limits that are counted are those that are hit, and each has an option."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import trio_spool.server
from trio_spool.server.settings import LIMITS

SERVER = Path(trio_spool.server.__file__).parent


def calls() -> Iterator[ast.Call]:
    for path in SERVER.rglob("*.py"):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def options_in(call: ast.Call) -> set[str]:
    """Return the options that a call names, or hands on by a variable."""
    texts = (node.value for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Constant))
    return {text.removeprefix("--") for text in texts if isinstance(text, str)}


def test_every_limit_is_hit_somewhere_and_what_is_hit_is_a_limit() -> None:
    hit = set()
    for call in calls():
        name = ast.unparse(call.func)
        if name.endswith("limits.hit"):
            hit |= options_in(call)
    # What others hand on: who ends a connection, and who refuses one.
    ends = {
        option
        for call in calls()
        if ast.unparse(call.func) in ("self._end", "NoPlace")
        for option in options_in(call)
        if "-" in option
    }
    hit |= {option for option in ends if option in LIMITS}
    admission = (SERVER / "shared" / "_admission.py").read_text()
    hit |= {limit for limit in LIMITS if f'"--{limit}"' in admission}
    assert hit == set(LIMITS)
