"""``get``, ``gets``, ``gat``, ``gats``, and runs of ``get``."""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs

from ....engine import Get, Item, Outcome, Problem, StorageError
from ....mctext import BAD_LINE, END, MAX_KEY, RemoteProtocolError, Request, encode_value, parse_expiry
from ...commands import items, noting
from ...conversation import READ, READ_AND_WRITE
from ...data import Bucket
from ...settings import EXCHANGE_SIZE
from ._exchange import PREFIX, TextContext, TextExchange
from ._problems import line_of_problem
from ._row import Command

# Keys that are held one by one. Further ones stay in one piece until these have been read: a million bytes of keys may be half a
# million objects, and a client may be slow. Picked, not measured.
_KEYS_AT_HAND: Final = 1000


@attrs.define(eq=False)
class Reading:
    """Items that are still to be returned.

    Attributes:
        keys: The keys of the next ones. `refill` adds those that are left.
        cas: Whether the CAS is returned.
        each: Whether each is the answer to a request of its own.
        single: Whether each request asks for one item: if that does not exist, the request ends with *not found*.
        failure: The line that stands for the end, if an item can't be returned.
        left: The keys of the others, with a blank between each two.
    """

    keys: list[bytes]
    cas: bool = False
    each: bool = False
    single: bool = attrs.field(init=False)
    failure: bytes = attrs.field(init=False, default=b"")
    left: bytes = attrs.field(init=False, default=b"")

    def __attrs_post_init__(self) -> None:
        self.single = self.each or len(self.keys) == 1
        if len(self.keys) > _KEYS_AT_HAND and not self.each:  # a run is no longer than what was read at once
            self.left = b" ".join(self.keys[_KEYS_AT_HAND:])
            del self.keys[_KEYS_AT_HAND:]

    def refill(self) -> bool:
        """Return whether there are further keys."""
        if not self.keys and self.left:
            self.keys = self.left.split(b" ", _KEYS_AT_HAND)
            self.left = self.keys.pop() if len(self.keys) > _KEYS_AT_HAND else b""
        return bool(self.keys)


def get(exchange: TextExchange, request: Request) -> None:
    """Return items. ``gets`` returns the CAS of each as well.

    Line: keys. Reply: ``VALUE key flags size`` or ``VALUE key flags size cas``, and the value, for each item that exists; ``END``.
    """
    if not request.arguments:
        raise RemoteProtocolError("ERROR")
    reading = Reading(_checked(list(request.arguments)), cas=request.command == b"gets")
    if not exchange.local:
        exchange.later(partial(_read_all, reading=reading))
        return
    read_on(exchange, reading)


def _checked(keys: list[bytes]) -> list[bytes]:
    if max(map(len, keys), default=0) > MAX_KEY:
        raise RemoteProtocolError(BAD_LINE)
    return keys


def read_on(exchange: TextExchange, reading: Reading) -> None:
    """Return as many items as one exchange has room for. If any are left, the exchange goes on with them."""
    if exchange.operations:
        if reading.single:
            _read_behind(exchange, reading)
        else:  # once they have been carried out, nothing is easier than reading
            exchange.continue_with(partial(read_on, exchange, reading), len(reading.left))
        return
    if not _read_run(exchange, reading):
        return
    if reading.refill():
        exchange.continue_with(partial(read_on, exchange, reading), len(reading.left))
    elif not reading.each:
        exchange.reply(END)


def _read_behind(exchange: TextExchange, reading: Reading) -> None:
    """Return one item as the collected operations leave it."""
    (key,) = reading.keys
    stored = PREFIX + key
    exchange.operate((key, reading), 64 + exchange.expected_size(stored), Get(stored), _encode_outcome)


def _encode_outcome(exchange: TextExchange, request: tuple[bytes, Reading], outcome: Outcome) -> bytes:
    key, reading = request
    if outcome.problem not in (None, Problem.NOT_FOUND):
        return line_of_problem(outcome.problem)
    return _encode_item(exchange, key, reading, outcome.item) + END


def _encode_item(exchange: TextExchange, key: bytes, reading: Reading, item: Item | None) -> bytes:
    items.count_get(exchange.shared.counters, found=item is not None)
    note_read(exchange, PREFIX + key, item)
    if item is None:
        return b""
    cas = items.shown_cas(exchange.bucket, PREFIX + key, item.cas) if reading.cas else None
    return encode_value(key, item.flags, item.value, cas)


def _read_run(exchange: TextExchange, reading: Reading) -> bool:
    """Return items, from the event loop's thread, and remove their keys. Return whether reading goes on."""
    keys = reading.keys
    room = EXCHANGE_SIZE - exchange.size
    most = max(exchange.shared.settings.max_in_flight - len(exchange.replies), 1)
    stored = [PREFIX + key for key in (keys if len(keys) <= most else keys[:most])]
    try:
        found = exchange.reader.get_many(stored, max(room, 0))
    except StorageError as exc:  # of the first one: the others may be read
        del keys[:1]
        exchange.fail(exc)
        return reading.each  # it stands for the end of all of them
    parts: list[bytes] = []
    append = parts.append
    misses = 0
    end = b"\r\nEND\r\n" if reading.each else b"\r\n"
    if reading.cas:
        locks = exchange.bucket.engine.locks
        for key, whole, item in zip(keys, stored, found, strict=False):
            if item is None:
                misses += 1
                if reading.each:
                    append(END)
            else:
                value, flags, _, cas = item
                if locks:
                    cas = items.shown_cas(exchange.bucket, whole, cas)
                append(b"VALUE %b %d %d %d\r\n" % (key, flags, len(value), cas))
                append(value)
                append(end)
    else:
        for key, item in zip(keys, found, strict=False):
            if item is None:
                misses += 1
                if reading.each:
                    append(END)
            else:
                value, flags, _, _ = item
                append(b"VALUE %b %d %d\r\n" % (key, flags, len(value)))
                append(value)
                append(end)
    exchange.reply(b"".join(parts))
    items.count_gets(exchange.shared.counters, len(found) - misses, misses)
    if misses and reading.single:
        exchange.count_failure("not_found", misses)
    if noting.reads_wanted(exchange.shared, exchange.bucket):
        for whole, item in zip(stored, found, strict=False):
            seen = None if item is None else (len(item[0]), item[3])
            noting.read(exchange.shared, exchange.bucket, exchange.connection, whole, seen)
    del keys[: len(found)]
    return True


async def _read_all(context: TextContext, reading: Reading) -> None:
    """Return items where reading has to wait."""
    while reading.refill():
        keys = reading.keys
        found = await context.in_worker(partial(_read_some_in_thread, context.bucket, list(keys)))
        encoded = [_encode_item(context.exchange, key, reading, item) for key, item in zip(keys, found, strict=False)]
        del keys[: len(found)]
        await context.reply(b"".join(encoded))
    await context.reply(END)


def _read_some_in_thread(bucket: Bucket, keys: list[bytes]) -> list[Item | None]:
    """Read items until there is as much of them as one exchange has room for."""
    found: list[Item | None] = []
    size = 0
    for key in keys:
        item = bucket.read_in_thread(PREFIX + key)
        found.append(item)
        size += 0 if item is None else len(item.value)
        if size > EXCHANGE_SIZE:
            break
    return found


def note_read(exchange: TextExchange, key: bytes, item: Item | None, *, bump: bool = True) -> None:
    """Note that an item was read, given its stored key, if somebody wants to know."""
    if noting.reads_wanted(exchange.shared, exchange.bucket):
        seen = None if item is None else (len(item.value), item.cas)
        noting.read(exchange.shared, exchange.bucket, exchange.connection, key, seen, bump=bump)


# Get and touch


def get_and_touch(exchange: TextExchange, request: Request) -> None:
    """Return items, and change the expiry of each. ``gats`` returns the CAS of each as well.

    Line: expiry, keys. The reply is that of ``get``.
    """
    arguments = request.arguments
    if not arguments:
        raise RemoteProtocolError("ERROR")
    expiry = parse_expiry(arguments[0])
    if expiry is None:
        raise RemoteProtocolError("CLIENT_ERROR invalid exptime argument")
    _touch_on(exchange, Reading(_checked(list(arguments[1:])), cas=request.command == b"gats"), expiry)


def _touch_on(exchange: TextExchange, reading: Reading, expiry: int) -> None:
    if not reading.refill():
        exchange.reply(END)
        return
    keys, most = reading.keys, exchange.shared.settings.max_in_flight
    count = 0
    for key in keys:
        if count and (exchange.is_full or len(exchange.replies) >= most):
            break
        operation = items.touch(exchange.bucket, PREFIX + key, expiry, keep_cas=True)
        count += 1
        last = count == len(keys) and not reading.left
        exchange.operate((key, reading, last), 64 + exchange.expected_size(PREFIX + key), operation, _encode_touched)
    del keys[:count]
    if reading.refill():
        exchange.continue_with(partial(_touch_on, exchange, reading, expiry), len(reading.left))


def _encode_touched(exchange: TextExchange, request: tuple[bytes, Reading, bool], outcome: Outcome) -> bytes:
    """Encode an item; behind the last one, the end, or why one of the items could not be returned."""
    key, reading, last = request
    answer = b""
    if outcome.problem not in (None, Problem.NOT_FOUND):
        reading.failure = line_of_problem(outcome.problem)
    else:
        item: Item | None = outcome.item
        items.count_touch(exchange.shared.counters, outcome)
        note_read(exchange, PREFIX + key, item)
        if item is not None and not reading.failure:
            answer = encode_value(key, item.flags, item.value, item.cas if reading.cas else None)
    return answer + (reading.failure or END) if last else answer


COMMANDS: Final = (
    Command("get", get, READ),
    Command("gets", get, READ),
    Command("gat", get_and_touch, READ_AND_WRITE),
    Command("gats", get_and_touch, READ_AND_WRITE),
)
