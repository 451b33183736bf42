"""Shorter pages from sphinx-click.

A command's usage line names its arguments, so no section repeats them. Each option says which environment variable sets it, in
place of a section of its own.
"""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

_OPTION = re.compile(r"\.\. option:: (.*)")
# What a help text names that is typed as it stands: options and addresses.
_TYPED = re.compile(
    r"(?<![`\w-])(--[a-z][a-z-]*|(?:tcp|tls|couchbase|memcached)://(?:HOST:PORT)?|unix:PATH|[A-Z]+_[A-Z_]+|HOST\[?:PORT\]?)(?![`\w])"
)


def _as_code(line: str) -> str:
    return _TYPED.sub(r"``\1``", line)


def describe(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    """Set as code what is typed as it stands."""
    lines[:] = map(_as_code, lines)


def drop(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    """Leave a section empty."""
    lines.clear()


def add_variables(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    """Add the environment variable to each option that has one."""
    variables = {option: param.envvar for param in ctx.command.params for option in param.opts if isinstance(param.envvar, str)}
    blocks: list[list[str]] = []
    for line in lines:
        if _OPTION.match(line):
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    lines.clear()
    for block in blocks:
        while not block[-1].strip():
            block.pop()
        names = re.findall(r"--?[\w-]+", block[0])
        variable = next((variables[name] for name in names if name in variables), None)
        if variable is not None:
            if not re.match(r"\s+:\w+:", block[-1]):
                block.append("")
            block.append(f"    :environment: {variable}")
        lines.extend((block[0], *map(_as_code, block[1:]), "", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("sphinx-click-process-arguments", drop)
    # sphinx-click 6 registers the first of these, and emits the second.
    for event in ("sphinx-click-process-envvars", "sphinx-click-process-envars"):
        if event not in app.events.events:
            app.add_event(event)
        app.connect(event, drop)
    app.connect("sphinx-click-process-description", describe)
    app.connect("sphinx-click-process-options", add_variables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
