"""The exchange of this protocol, and the context of its long commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ...._incidents import place_of
from ....auth import Role
from ....engine import EngineError, Problem
from ....mctext import RemoteProtocolError, Request
from ...conversation import READ_AND_WRITE, CommandContext, Exchange, Host, Refusal
from ...settings import ServiceError
from ._problems import INTERNAL, line_of_error, line_of_failure, line_of_problem
from ._row import Table

# Stands for the default collection at the beginning of a stored key.
PREFIX = b"\0"


class TextExchange(Exchange):
    """The requests of one connection that are being answered.

    Attributes:
        table: The commands.
        connection: The number of the connection.
        rest: Goes on with a request whose answer is larger than an exchange, once what there is of it has been sent.
    """

    __slots__ = ("connection", "rest", "table")

    def __init__(self, host: Host, table: Table) -> None:
        super().__init__(host.shared, host.session)
        self.table = table
        self.connection = host.jobs.connection
        self.rest: Callable[[], None] | None = None

    def error(self, error: ServiceError | RemoteProtocolError) -> None:
        """Reply with the line that an error of a command stands for."""
        self.reply(line_of_error(error))

    def name(self, request: Any) -> str:
        command: bytes = getattr(request, "command", b"get")  # of a line with keys, each key is a request
        return command.decode("ascii", "replace")

    def failure(self, request: Any) -> bytes:
        """Return the reply to a request whose command has just raised an error. It costs this request, and no other."""
        self.shared.counters.command_failures += 1
        error = sys.exc_info()[1]
        assert error is not None
        self.shared.incidents.report(
            "command failed", place=f"text: {place_of(error)}", level="error", error=error, peer=self.session.peer
        )
        return INTERNAL

    def encode_failure(self, request: Any, problem: Problem) -> bytes:
        return line_of_problem(problem)

    def fail(self, error: EngineError) -> None:
        """Reply that the store could not answer."""
        self.reply(line_of_failure(error))

    @property
    def may_write(self) -> bool:
        """Whether the client may read and write."""
        return self.session.refusal(READ_AND_WRITE) is Refusal.NONE

    def may_everywhere(self, *roles: Role) -> bool:
        """Whether the client has roles for all buckets."""
        user = self.session.user
        return user is not None and all(user.may(role, None) for role in roles)


class TextContext(CommandContext):
    """What a long command is given.

    Attributes:
        request: The request.
        exchange: Encodes its replies.
    """

    def __init__(self, host: Host, exchange: TextExchange, request: Request) -> None:
        label = b" ".join(request.arguments)[:250].decode("utf-8", "replace") if request.line is None else ""
        super().__init__(host.jobs, host.session, request.command[:32].decode("utf-8", "replace"), label, alone=True)
        self.request = request
        self.exchange = exchange

    async def refuse(self, error: ServiceError) -> None:
        """Reply with the line that an error of a command stands for."""
        await self.reply(line_of_error(error))

    async def fail(self) -> None:
        """Reply that the command failed, and that the log says why."""
        await self.reply(INTERNAL)
