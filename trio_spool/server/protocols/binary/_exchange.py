"""The exchange of this protocol, which encodes, and the context of its long commands."""

from __future__ import annotations

import sys
from typing import Any

from ...._incidents import place_of
from ....engine import EngineError, Problem
from ....mcbp import RemoteProtocolError, Request, Status, encode_response, encode_server_duration, status_name, with_framing
from ...conversation import CommandContext, Exchange, Host
from ...settings import ServiceError
from ...shared import Told, find_entrance
from ._cluster import cluster_config
from ._features import Features
from ._problems import STATUS_OF, status_of_error, status_of_failure
from ._row import Table


class BinaryExchange(Exchange):
    """The requests of one connection that are being answered.

    Attributes:
        features: What HELLO has granted.
        table: The commands.
        connection: The number of the connection.
    """

    __slots__ = ("connection", "features", "table")

    def __init__(self, host: Host, table: Table) -> None:
        super().__init__(host.shared, host.session)
        self.features = Features()
        self.table = table
        self.connection = host.jobs.connection

    def encode(
        self, request: Request, *, status: int = 0, extras: bytes = b"", value: bytes = b"", cas: int = 0, datatype: int = 0
    ) -> bytes:
        """Encode a reply, with those datatype bits that the client has negotiated."""
        if status:
            self.count_failure(request.opcode, status)
        return encode_response(
            request.opcode, status, request.opaque, extras=extras, value=value, cas=cas,
            datatype=datatype & self.features.datatypes,
        )  # fmt: skip

    def answer(
        self, request: Request, *, status: int = 0, extras: bytes = b"", value: bytes = b"", cas: int = 0, datatype: int = 0
    ) -> None:
        """Reply with what `encode` makes."""
        self.reply(self.encode(request, status=status, extras=extras, value=value, cas=cas, datatype=datatype))

    def error(self, request: Request, status: int, context: str = "") -> None:
        """Reply with an error."""
        self.reply(self.encode_error(request.opcode, request.opaque, status, context))

    def encode_error(self, opcode: int, opaque: int, status: int, context: str = "") -> bytes:
        """Encode the reply that reports an error, and count it. Sessions that have asked for it get the `context` as well."""
        self.count_failure(opcode, status)
        return self.features.error(opcode, opaque, status, context)

    def count_failure(self, opcode: int, status: int, count: int = 1) -> None:
        """Count that requests ended with another status than success."""
        self.shared.timings.failed(self.table.names[opcode], status_name(status), count)

    def refuse(self, request: Request, error: ServiceError | RemoteProtocolError) -> None:
        """Reply with the status that an error of a command stands for, or that of a value that can't be parsed."""
        self.error(request, status_of_error(error), str(error))

    def name(self, request: Request) -> str:
        return self.table.names[request.opcode]

    def tell(self, what: int, key: Any) -> Told:
        if isinstance(key, tuple):
            key = key[1]  # of a run of GETs, after the opaque
        shape = self.table.shapes[what]
        return Told(self.table.names[what], key, shape is not None and shape.collection)

    def failure(self, request: Request) -> bytes:
        """Return the reply to a request whose command has just raised an error. It costs this request, and no other."""
        shared, command = self.shared, self.table.names[request.opcode]
        shared.counters.command_failures += 1
        error = sys.exc_info()[1]
        assert error is not None
        shared.incidents.report(
            "command failed", place=f"{command}: {place_of(error)}", level="error", error=error, peer=self.session.peer,
            **shared.key_of(request.key.decode("utf-8", "replace")),
        )  # fmt: skip
        return self.encode_error(request.opcode, request.opaque, Status.INTERNAL, "see the service's log")

    def encode_failure(self, request: Request, problem: Problem) -> bytes:
        return self.encode_error(request.opcode, request.opaque, STATUS_OF[problem])

    def fail(self, request: Request, error: EngineError) -> None:
        """Reply that the store could not answer."""
        self.error(request, status_of_failure(error), "see the service's log")

    def is_quiet(self, request: Request) -> bool:
        """Whether a request is the quiet form of its command."""
        return request.opcode in self.table.loud

    def loud(self, request: Request) -> int:
        """Return the opcode of the command that a request is, or is the quiet form of."""
        return self.table.loud.get(request.opcode, request.opcode)

    def cluster_config(self) -> bytes:
        """Return the configuration that this client should know."""
        session, shared = self.session, self.shared
        bucket = session.bucket if session.selected else None
        ports: dict[str, int] = {}
        for suffix, tls in (("", False), ("SSL", True)):
            ports["kv" + suffix] = shared.port_beside(session.listener, tls=tls)
            ports["mgmt" + suffix] = find_entrance(shared.entrances, session.listener, session.peer, tls=tls)
        return cluster_config(ports, shared.epoch, bucket)

    def take(self) -> bytes:
        """Return all replies, and forget them. Each says how long it took, if the client has asked for that."""
        if self.features.tracing:
            duration = encode_server_duration(self.seconds())
            self.replies[:] = [with_framing(reply, duration) if reply else reply for reply in self.replies]
        return super().take()


class BinaryContext(CommandContext):
    """What a long command is given.

    Attributes:
        request: The request.
        exchange: Encodes its replies.
        features: What HELLO has granted.
    """

    def __init__(self, host: Host, exchange: BinaryExchange, request: Request, *, alone: bool) -> None:
        label = request.key.decode("utf-8", "replace")
        super().__init__(host.jobs, host.session, exchange.table.names[request.opcode], label, alone=alone)
        self.request = request
        self.exchange = exchange
        self.features = exchange.features

    def tell(self) -> Told:
        return self.exchange.tell(self.request.opcode, self.request.key)

    def encode(self, *, status: int = 0, value: bytes = b"", datatype: int = 0) -> bytes:
        """Encode a reply: see `BinaryExchange.encode`."""
        return self.exchange.encode(self.request, status=status, value=value, datatype=datatype)

    async def reply(self, data: bytes) -> None:
        """Reply with one frame, which says how long it took, if the client has asked for that."""
        if self.features.tracing:
            data = with_framing(data, encode_server_duration(self.seconds()))
        await super().reply(data)

    async def error(self, status: int, context: str = "") -> None:
        """Reply with an error."""
        await self.reply(self.exchange.encode_error(self.request.opcode, self.request.opaque, status, context))

    async def refuse(self, error: ServiceError) -> None:
        """Reply with the status that an error of a command stands for."""
        await self.error(status_of_error(error), str(error))

    async def fail(self) -> None:
        """Reply that the command failed, and that the log says why."""
        await self.error(Status.INTERNAL, "see the service's log")
