"""Which protocol a connection speaks: its first byte decides, as in memcached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...mctext import encode_error
from ..conversation import Begin, Detect, Doing, Host, Queued
from ..shared import Cause
from .binary import FIRST_BYTES, BinaryGuest, refuse_request
from .text import TextGuest

BINARY: Final = "binary"
TEXT: Final = "text"


def detect(first: int) -> Begin | None:
    """Return how a conversation begins whose first byte is this one."""
    return BinaryGuest if first in FIRST_BYTES else TextGuest


def detecting(protocols: str) -> Detect:
    """Return what `detect` does where only some protocols are spoken: a client of another one is told so.

    Args:
        protocols: Their names, with commas between them.
    """
    spoken = frozenset(protocols.split(","))

    def detect_spoken(first: int) -> Begin | None:
        wanted = BINARY if first in FIRST_BYTES else TEXT
        return detect(first) if wanted in spoken else _refusing(wanted)

    return detect_spoken


def refuse_first(data: bytes, why: str) -> bytes | None:
    """Return the answer to the first request of a client that may not stay.

    Args:
        data: What has arrived of the request.
        why: What the client is told.

    Returns:
        The answer; None if too little has arrived.
    """
    return refuse_request(data, why) if data[0] in FIRST_BYTES else encode_error("SERVER_ERROR", why)


def _refusing(protocol: str) -> Callable[[Host], _RefusingGuest]:
    return lambda host: _RefusingGuest(host, protocol)


class _RefusingGuest:
    """Answers the first request of a protocol that is not spoken here with an error, and ends the connection.

    Args:
        host: What the connection offers.
        protocol: The protocol.
    """

    skipping = 0
    commands = 0

    def __init__(self, host: Host, protocol: str) -> None:
        self._host = host
        self._why = f"the {protocol} protocol is not spoken here: see --protocols"
        self._received = b""
        self.cause: Cause | None = None

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete request it holds."""
        return len(self._received)

    @property
    def held(self) -> int:
        """How many bytes it holds in all."""
        return len(self._received)

    async def feed(self, data: bytes) -> None:
        """Answer the first request, once enough of it is there."""
        self._received += data[:64]
        answer = refuse_first(self._received, self._why)
        if answer is None:
            return
        self.cause = Cause.UNKNOWN_PROTOCOL
        self._received = b""
        self._host.shared.counters.bad_requests += 1
        if answer:
            await self._host.sender.send(answer)

    def doing(self) -> Doing:
        """Return nothing."""
        return Doing()

    def queued(self, ahead: bytes) -> Queued:
        """Return nothing."""
        return Queued()

    def refuse_unfinished(self, why: str) -> bytes:
        """Return nothing: the client is to be refused anyway."""
        return b""

    def describe(self) -> dict[str, object]:
        """Describe the conversation for the statistics."""
        return {"session": "refused"}
