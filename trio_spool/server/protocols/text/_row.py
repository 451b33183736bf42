"""How a command is described: one row in its family's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ....mctext import Request
from ...conversation import NOBODY, Rule

# Answers a request; its first argument is a `TextExchange`.
Handler = Callable[[Any, Request], None]


@attrs.frozen
class Command:
    """One command.

    Attributes:
        name: The first word of its line.
        run: Answers a request, in the event loop's thread. The first paragraph of its documentation is shown in the reference.
        who: Who may use it. A command that does not say so is refused to everybody.
        noreply: Whether ``noreply`` at the end of its line leaves out the reply.
        waits: Whether those before it are carried out, and answered, before it is looked at.
    """

    name: str
    run: Handler
    who: Rule = NOBODY
    noreply: bool = attrs.field(default=False, kw_only=True)
    waits: bool = attrs.field(default=False, kw_only=True)


class Table:
    """The commands of the protocol.

    Attributes:
        commands: The rows, in the order of their names.
        rows: For each name, its row, with its number.
        rules: Who may use each command, by its number.

    Args:
        commands: The rows.

    Raises:
        ValueError: Two rows have the same name.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        self.commands = tuple(sorted(commands, key=lambda command: command.name))
        self.rows = {command.name.encode(): (number, command) for number, command in enumerate(self.commands)}
        if len(self.rows) < len(self.commands):
            raise ValueError("a command is described twice")
        self.rules = tuple(command.who for command in self.commands)
