"""What a command is given: the request's session, storage to read, and a sink for its reply. Never the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..engine import Item, Operation, Outcome
from ..mcbp import Request
from ._jobs import Work
from ._session import Session

if TYPE_CHECKING:
    from ._service import Service

# Replies are sent, and operations submitted, when there is this much of them, in bytes.
EXCHANGE_SIZE = 256 * 1024

Encode = Callable[["Exchange", Request, Outcome], bytes]


class Exchange:
    """The requests of one connection that are being answered, and their replies in order.

    A reply is ready, or follows from the outcome of an operation. Operations are collected and submitted together; a read that
    comes after one of them joins them, and so sees what they did.
    """

    __slots__ = ("closing", "operations", "pending", "reader", "replies", "service", "session", "size", "work")

    def __init__(self, service: Service, session: Session) -> None:
        self.service = service
        self.session = session
        self.reader = service.reader
        self.replies: list[bytes] = []
        self.operations: list[Operation] = []
        self.pending: list[tuple[int, Encode, Request]] = []  # where in `replies`, and how it follows from the outcome
        self.size = 0  # bytes of `replies`, of `operations`, and of what those are expected to return
        self.work: Work | None = None
        self.closing = False

    def reply(self, data: bytes) -> None:
        """Reply with a frame."""
        self.replies.append(data)
        self.size += len(data)

    def error(self, request: Request, status: int, context: str = "") -> None:
        """Reply with an error."""
        self.reply(self.session.error(request.opcode, request.opaque, status, context))

    def operate(self, request: Request, operation: Operation, encode: Encode, returns: int = 0) -> None:
        """Carry out an operation, and reply with what `encode` makes of the outcome (which may be nothing).

        Args:
            request: The request, for `encode`.
            operation: What to do.
            encode: Makes the frame.
            returns: How many bytes the outcome may bring back.
        """
        self.pending.append((len(self.replies), encode, request))
        self.replies.append(b"")
        self.operations.append(operation)
        self.size += request.size + returns

    def later(self, work: Work) -> None:
        """Reply with what `work` makes: it runs in a task of its own, once what was collected has been carried out."""
        self.work = work

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        self.closing = True

    def get(self, key: bytes) -> Item | None:
        """Read an item, as it was before any operation that is collected."""
        return self.reader.get(key)

    def resolve(self, outcomes: list[Outcome]) -> None:
        """Fill in the replies that waited for outcomes."""
        for (position, encode, request), outcome in zip(self.pending, outcomes, strict=True):
            self.replies[position] = encode(self, request, outcome)
        self.pending.clear()
        self.operations.clear()

    def take(self) -> bytes:
        """Return all replies, and forget them."""
        replies = self.replies
        data = replies[0] if len(replies) == 1 else b"".join(replies)
        replies.clear()
        self.size = 0
        return data
