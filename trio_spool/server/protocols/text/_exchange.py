"""The exchange of this protocol, and the context of its long commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ...._incidents import place_of
from ....auth import Role
from ....engine import EngineError, Operation, Outcome, Problem
from ....mctext import Rejected, RemoteProtocolError, Request
from ...conversation import READ_AND_WRITE, CommandContext, Encode, Exchange, Host, Refusal
from ...settings import ServiceError
from ...shared import Told
from ._problems import INTERNAL, line_of_error, line_of_failure, line_of_problem, status_of_error, status_of_problem
from ._row import Table

# Stands for the default collection at the beginning of a stored key.
PREFIX = b"\0"
# The name, in statistics, of what is no command.
UNKNOWN: Final = "unknown"


class TextExchange(Exchange):
    """The requests of one connection that are being answered.

    Attributes:
        table: The commands.
        connection: The number of the connection.
        command: The name of the command that is being answered.
        rest: Goes on with a request whose answer is larger than an exchange, once what there is of it has been sent.
        left: The bytes that are held for that.
    """

    __slots__ = ("command", "connection", "left", "rest", "table")

    def __init__(self, host: Host, table: Table) -> None:
        super().__init__(host.shared, host.session)
        self.table = table
        self.connection = host.jobs.connection
        self.command = UNKNOWN
        self.rest: Callable[[], None] | None = None
        self.left = 0

    def continue_with(self, rest: Callable[[], None], held: int = 0) -> None:
        """Go on with a request once what there is has been carried out and sent.

        Args:
            rest: Goes on.
            held: The bytes that are held for that.
        """
        self.rest, self.left = rest, held

    def operate(self, request: Any, size: int, operation: Operation, encode: Encode) -> None:
        super().operate(request, size, operation, partial(_count_outcome, self.command, encode))

    def count_failure(self, status: str, count: int = 1) -> None:
        """Count that requests, for the command that is being answered, ended with another status than success."""
        self.shared.timings.failed(self.command, status, count)

    def error(self, error: ServiceError | RemoteProtocolError) -> None:
        """Reply with the line that an error of a command stands for."""
        self.reply(line_of_error(error))

    def name(self, request: Any) -> str:
        command: bytes = getattr(request, "command", b"get")  # of a line with keys, each key is a request
        return command.decode("ascii", "replace")

    def tell(self, what: bytes, key: bytes) -> Told:
        found = self.table.rows.get(what)
        return Told("unknown" if found is None else found[1].name, PREFIX + key, True)

    def failure(self, request: Any) -> bytes:
        """Return the reply to a request whose command has just raised an error. It costs this request, and no other."""
        self.count_failure("internal")
        self.shared.counters.command_failures += 1
        error = sys.exc_info()[1]
        assert error is not None
        self.shared.incidents.report(
            "command failed", place=f"text: {place_of(error)}", level="error", error=error, peer=self.session.peer
        )
        return INTERNAL

    def encode_failure(self, request: Any, problem: Problem) -> bytes:
        self.count_failure(status_of_problem(problem))
        return line_of_problem(problem)

    def fail(self, error: EngineError) -> None:
        """Reply that the store could not answer."""
        self.count_failure(status_of_error(error))
        self.reply(line_of_failure(error))

    @property
    def may_write(self) -> bool:
        """Whether the client may read and write."""
        return self.session.refusal(READ_AND_WRITE) is Refusal.NONE

    def may_everywhere(self, *roles: Role) -> bool:
        """Whether the client has roles for all buckets."""
        user = self.session.user
        return user is not None and all(user.may(role, None) for role in roles)


# Commands that may ask for several items.
_OF_SEVERAL: Final = frozenset({"get", "gets", "gat", "gats"})


def _count_outcome(command: str, encode: Encode, exchange: TextExchange, request: Any, outcome: Outcome) -> bytes:
    """Count an outcome that is no success, for the command that it is of: another one may be being answered by now."""
    problem, several = outcome.problem, command in _OF_SEVERAL
    if problem is None and outcome.item is None and (several or command == "mg"):
        problem = Problem.NOT_FOUND  # a read that has found nothing
    of_others = problem is Problem.NOT_FOUND and several and not request[1].single  # other items may have been found
    if problem is not None and not of_others and type(request) is not Rejected:
        exchange.shared.timings.failed(command, status_of_problem(problem))
    return encode(exchange, request, outcome)


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
        self.shared.timings.failed(self.command, status_of_error(error))
        await self.reply(line_of_error(error))

    async def fail(self) -> None:
        """Reply that the command failed, and that the log says why."""
        self.shared.timings.failed(self.command, "internal")
        await self.reply(INTERNAL)
