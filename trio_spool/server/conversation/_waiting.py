"""What the commands of a connection wait for, in words that do not depend on the protocol."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

# Names of commands that one connection shows, of each kind. Picked, not measured: a line of them.
MAX_NAMES: Final = 10


class Waits(Enum):
    """What a command waits for. The values are shown to people."""

    WRITER = "the writer"
    WORKER = "a worker"
    CLIENT = "the client"
    ROOM = "room in --max-buffered"
    RATE = "its share of --max-stream-rate"
    COMMANDS = "commands before it"
    OTHERS = "others who change the same item"
    EVENTS = "something to happen"
    SEQNO = "a sequence number"
    REFUSAL = "the delay of a refused login"


class Doing(NamedTuple):
    """What a guest does now.

    Attributes:
        commands: The names of the commands that it carries out together.
        waits_for: What they, or their replies, wait for; None if nothing waits.
        since: Since when, by `time.perf_counter`.
    """

    commands: tuple[str, ...] = ()
    waits_for: Waits | None = None
    since: float = 0.0


class Queued(NamedTuple):
    """Requests that have arrived and were not begun.

    Attributes:
        number: How many there are.
        commands: The names of the first ones, at most `MAX_NAMES`.
    """

    number: int = 0
    commands: tuple[str, ...] = ()


class CutOff(NamedTuple):
    """A command whose client has gone, or was given up, before it had ended.

    Attributes:
        command: Its name.
        bytes: How many bytes of replies it had sent, as far as the system had taken them or they were queued.
        items: How many items, rows or pieces these were.
        seconds: For how long it had been running.
        waited_for: What it waited for, in words.
    """

    command: str
    bytes: int
    items: int
    seconds: float
    waited_for: str = ""
