"""Commands that took longer than `Settings.slow_log`: a line of the log for each, within a bound, and the last ones in a ring.

A disk that takes a second for each commit makes every mutation slow. So of each `WINDOW` seconds, `MAX_LINES` commands are logged,
and then one line says how many were left out. Of commands that were carried out together, and so were slow together, the first
`MAX_TOGETHER` are noted.

Nothing is measured for a command that is not slow, but that the protocol keeps its name and key until it is answered; and not even
that while the log is off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from math import inf
from typing import Final, NamedTuple

import attrs

from ..._formats import visible
from ..data import Bucket, Spent
from ..settings import Settings
from ._log import Log

# Seconds, and the lines of the log in each of them. Picked, not measured: two lines a second can be read, and fill no disk.
WINDOW: Final = 10.0
MAX_LINES: Final = 20
# Commands that are kept. Picked, not measured: some 100 kB.
KEPT: Final = 256
# Of commands that were carried out together. Picked, not measured.
MAX_TOGETHER: Final = 8
# Bytes of a key that are shown: of the 250 that it may have, what tells most keys apart. Picked, not measured.
_MAX_KEY: Final = 100


class Told(NamedTuple):
    """What a protocol tells of a command.

    Attributes:
        command: Its name.
        key: Its key, or whatever else it names, such as a group of statistics.
        stored: Whether the key is that of an item, and begins with the id of its collection.
    """

    command: str
    key: bytes
    stored: bool


class Client(NamedTuple):
    """For whom a command was carried out: the number of the connection, the client's address, the user's name, and the bucket."""

    connection: int
    peer: str
    user: str | None
    bucket: Bucket | None


@attrs.frozen(kw_only=True)
class SlowCommand:
    """A command that was slow. Times are in seconds.

    Attributes:
        number: Counts slow commands, from 1.
        at: When it was answered: a Unix time.
        command: Its name.
        key: Its key, made fit to be shown.
        bucket: The bucket's name, or None.
        collection: The names of the scope and the collection, or None.
        connection: The number of the connection.
        peer: The client's address.
        user: The user's name, or None.
        seconds: From its arrival until its answer was queued, or its last part.
        queued: How long it waited behind other commands of its connection.
        spent: Where the rest went, as far as it went anywhere but into the event loop.
        together: How many commands were carried out together, this one included.
    """

    number: int
    at: float
    command: str
    key: str
    bucket: str | None
    collection: str | None
    connection: int
    peer: str
    user: str | None
    seconds: float
    queued: float
    spent: Spent
    together: int

    def describe(self, *, key: bool) -> dict[str, object]:
        """Describe it for the log and the statistics, in values that JSON can hold; with its `key`, or without."""
        spent = {name: _rounded(value) for name, value in attrs.asdict(self.spent).items()}
        return {
            "command": self.command,
            **({"key": self.key} if key else {}),
            "bucket": self.bucket,
            "collection": self.collection,
            "connection": self.connection,
            "peer": self.peer,
            "user": self.user,
            "seconds": _rounded(self.seconds),
            "queued": _rounded(self.queued),
            **spent,
            "together": self.together,
        }

    @property
    def time(self) -> str:
        """When it was answered, as in the log."""
        moment = datetime.fromtimestamp(self.at, timezone.utc)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SlowLog:
    """Takes note of slow commands. The event loop's thread uses it.

    Args:
        settings: The settings.
        log: The log.
        clock: The monotonic clock.
        wall: The clock that tells the time of day.

    Attributes:
        on: Whether anything is noted: look at it first.
        limit: How many seconds a command may take that is not slow; infinite while the log is off.
        count: How many slow commands there were.
        left_out: How many of them are not in the log.
    """

    def __init__(
        self, settings: Settings, log: Log, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._log = log
        self._clock = clock
        self._wall = wall
        self._kept: deque[SlowCommand] = deque(maxlen=KEPT)
        self._window = -inf  # when it began
        self._lines = 0  # in it
        self._untold = 0  # commands that were left out, and nobody was told of yet
        self.count = self.left_out = 0
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Go on with other settings."""
        self.limit = settings.slow_log or inf
        self.on = self.limit < inf
        self._keys = not settings.hide_keys

    def __iter__(self) -> Iterator[SlowCommand]:
        return iter(list(self._kept))

    @property
    def shows_keys(self) -> bool:
        """Whether keys may be shown at all."""
        return self._keys

    def note(self, told: Iterable[Told], together: int, client: Client, seconds: float, queued: float, spent: Spent) -> None:
        """Note commands that were carried out together, and were slow.

        Args:
            told: The commands, or the first ones of them.
            together: How many they were.
            client: For whom.
            seconds: As for `SlowCommand`, as are the next two.
            queued: As above.
            spent: As above. It is kept.
        """
        noted = 0
        for each in told:
            if noted == MAX_TOGETHER:
                break
            noted += 1
            self.count += 1
            self._add(each, together, client, seconds, queued, spent)
        rest = together - noted
        self.count += rest
        self._leave_out(rest)

    def _add(self, told: Told, together: int, client: Client, seconds: float, queued: float, spent: Spent) -> None:
        bucket = client.bucket
        prefix = _prefix_size(told.key) if told.stored else 0
        slow = SlowCommand(
            number=self.count, at=self._wall(), command=told.command, key=visible(told.key[prefix:], _MAX_KEY),
            bucket=None if bucket is None else bucket.name,
            collection=bucket.collection_name(told.key) if prefix and bucket is not None else None, connection=client.connection,
            peer=client.peer, user=client.user, seconds=seconds, queued=queued, spent=spent, together=together,
        )  # fmt: skip
        self._kept.append(slow)
        now = self._clock()
        if now - self._window >= WINDOW:
            self.look()
            self._window, self._lines = now, 0
        if self._lines < MAX_LINES:
            self._lines += 1
            self._log.warning("slow command", **slow.describe(key=self._keys))
        else:
            self._leave_out(1)

    def _leave_out(self, count: int) -> None:
        self.left_out += count
        self._untold += count

    def look(self) -> None:
        """Log how many slow commands were left out, once their time is over. Call it every second or so."""
        if self._untold and self._clock() - self._window >= WINDOW:
            self._tell()

    def finish(self) -> None:
        """Log how many were left out that nobody was told of yet."""
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        left_out, self._untold = self._untold, 0
        self._log.warning("slow commands were left out", commands=left_out, in_all=self.count)

    def reset(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self.count = self.left_out = 0


def _prefix_size(key: bytes) -> int:
    """Return how many bytes of a stored key are the id of its collection."""
    size = 0
    while size < len(key) and key[size] & 0x80:
        size += 1
    return min(size + 1, len(key))


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
