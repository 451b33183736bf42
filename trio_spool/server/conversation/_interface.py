"""What a connection and the protocol that is spoken on it say to each other.

The protocol is a guest: it gets bytes, and answers through the sender and the jobs of its host. The connection knows nothing of
requests, and the guest nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs

from ..._core import Sender
from ..shared import Cause, Shared
from ._jobs import Jobs
from ._session import Session
from ._waiting import Doing, Queued


@attrs.frozen
class Host:
    """What a guest is given of its connection.

    Attributes:
        shared: What all connections share.
        session: Who is served.
        sender: Takes what is to be sent.
        jobs: Runs long commands.
        read_ahead: Reads what the client sends while jobs keep the guest from answering it, up to a bound. Returns only if the
            client has gone: the `meanwhile` of `Jobs.wait`.
    """

    shared: Shared
    session: Session
    sender: Sender
    jobs: Jobs
    read_ahead: Callable[[], Awaitable[None]]


class Guest(Protocol):
    """One client's conversation in one protocol.

    It must not collect replies without a bound: see `Exchange.is_full`.
    """

    @property
    def cause(self) -> Cause | None:
        """Why the connection is to end, once what was answered has been sent; None if it goes on."""

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete request it holds."""

    @property
    def skipping(self) -> int:
        """How many bytes are still to come of a request that was answered already."""

    @property
    def held(self) -> int:
        """How many bytes it holds in all: of requests, and of replies that are not queued yet."""

    @property
    def commands(self) -> int:
        """How many commands it has carried out."""

    async def feed(self, data: bytes) -> None:
        """Answer every request that the data completes. What breaks the protocol sets `cause`.

        Raises:
            trio.BrokenResourceError: The client has gone, or does not read.
        """

    def refuse_unfinished(self, why: str) -> bytes:
        """Return the reply to a request that has arrived in part, since its client may not stay; nothing if none can be made."""

    def doing(self) -> Doing:
        """Return what it does now, apart from its long commands, which are known to the jobs: see `Exchange.doing`."""

    def queued(self, ahead: bytes) -> Queued:
        """Return which whole requests have arrived and were not begun, with what the connection has read ahead."""

    def describe(self) -> dict[str, object]:
        """Describe the conversation for the statistics, in values that JSON can hold: ``agent`` and ``session``, if it has them."""


# Begins a conversation.
Begin = Callable[[Host], Guest]
# Returns how the conversation begins whose first byte this is; None if no protocol begins so.
Detect = Callable[[int], "Begin | None"]
