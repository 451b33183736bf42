"""``mg``, ``me``, and runs of ``mg``."""

from __future__ import annotations

import time
from functools import partial
from typing import Final, NamedTuple

from ....engine import STALE, WON, Fetch, Get, Item, Outcome, Problem
from ....mctext import MAX_TOKENS, MetaFlags, RemoteProtocolError, Request, encode_key, parse_meta_line
from ...commands import items
from ...conversation import READ, READ_AND_WRITE
from ._exchange import PREFIX, TextContext, TextExchange
from ._problems import line_of_problem, no_access
from ._reading import note_read
from ._row import Command

# Letters of flags.
_CAS, _FLAGS, _HIT, _KEY, _LAST, _OPAQUE, _SIZE, _TTL = b"cfhklOst"
_ABOUT_ACCESSES: Final = frozenset((_HIT, _LAST))


class Wanted(NamedTuple):
    """What ``mg`` asks for.

    Attributes:
        key: The key.
        meta: The flags.
        opaque: The opaque flag, its letter included.
    """

    key: bytes
    meta: MetaFlags
    opaque: bytes = b""


def meta_get(exchange: TextExchange, request: Request) -> None:
    """Return an item, or facts about it; decide which client makes a new value.

    Line: key, flags. Reply: ``VA size flags`` and the value, or ``HD flags``, or ``EN``.
    """
    if len(request.arguments) >= MAX_TOKENS:
        raise RemoteProtocolError("CLIENT_ERROR options flags are too long")
    answer_meta_get(exchange, Wanted(*parse_meta_line(request.arguments)), request.size)


def answer_meta_get(exchange: TextExchange, wanted: Wanted, size: int) -> None:
    """Answer one ``mg``."""
    key, meta, _ = wanted
    if not _ABOUT_ACCESSES.isdisjoint(meta.letters):
        exchange.bucket.note_accesses()
    stored = PREFIX + key
    if meta.create_ttl is not None or meta.recache is not None or meta.ttl is not None:
        if not exchange.may_write:
            user = exchange.session.user
            exchange.count_failure("no_access")
            exchange.reply(no_access("" if user is None else user.name, READ_AND_WRITE.roles))
            return
        operation = items.fetch(
            exchange.bucket, stored, create=meta.create_ttl, recache=meta.recache, expiry=meta.ttl, new_cas=meta.new_cas or 0
        )
        exchange.operate(wanted, size + exchange.expected_size(stored), operation, _encode_fetched)
    elif not exchange.local:
        exchange.later(partial(_read, wanted=wanted))
    elif exchange.operations:
        # A fetch instead of a get, since this client may be the one to make a new value.
        behind = Fetch(stored) if exchange.may_write else Get(stored)
        exchange.operate(wanted, size + exchange.expected_size(stored), behind, _encode_fetched)
    else:
        item = exchange.reader.get(stored)
        if item is not None and wins(item.datatype) and exchange.may_write:
            exchange.operate(wanted, size + len(item.value), Fetch(stored), _encode_fetched)
        else:
            if item is None:
                exchange.count_failure("not_found")
            exchange.reply(_encode(exchange, wanted, item))


def wins(datatype: int) -> bool:
    """Whether the next client that fetches an item with these bits is to make a new value."""
    return bool(datatype & STALE) and not datatype & WON


async def _read(context: TextContext, wanted: Wanted) -> None:
    """Return an item where reading has to wait."""
    exchange, stored = context.exchange, PREFIX + wanted.key
    item = await context.in_worker(lambda: context.bucket.read_in_thread(stored))
    if item is not None and wins(item.datatype) and exchange.may_write:
        (outcome,) = await context.bucket.operate([Fetch(stored)])
        reply = _encode_fetched(exchange, wanted, outcome)
    else:
        if item is None:
            exchange.count_failure("not_found")
        reply = _encode(exchange, wanted, item)
    if reply:  # a quiet one does not answer everything
        await context.reply(reply)


def _encode_fetched(exchange: TextExchange, wanted: Wanted, outcome: Outcome) -> bytes:
    if outcome.problem not in (None, Problem.NOT_FOUND):
        return line_of_problem(outcome.problem)
    if wanted.meta.ttl is not None:
        items.count_touch(exchange.shared.counters, outcome)
    return _encode(exchange, wanted, outcome.item, won=outcome.number == 1)


def _encode(exchange: TextExchange, wanted: Wanted, item: Item | None, *, won: bool = False) -> bytes:
    key, meta, _ = wanted
    if meta.ttl is None:
        items.count_get(exchange.shared.counters, found=item is not None)
    reply = _encode_miss(wanted) if item is None else _encode_hit(exchange, wanted, item, won)
    note_read(exchange, PREFIX + key, item, bump=meta.bump)
    return reply


def _encode_miss(wanted: Wanted) -> bytes:
    return b"" if wanted.meta.quiet else b"EN" + returned(wanted) + b"\r\n"


def returned(wanted: Wanted) -> bytes:
    """Encode what every command returns: the opaque and the key, in the order in which they were asked for."""
    key, meta, opaque = wanted
    parts = [
        b" " + opaque if letter == _OPAQUE else encode_key(key, base64=meta.base64)
        for letter in meta.letters
        if letter in (_OPAQUE, _KEY)
    ]
    return b"".join(parts)


def _encode_hit(exchange: TextExchange, wanted: Wanted, item: Item, won: bool) -> bytes:
    key, meta, opaque = wanted
    bucket = exchange.bucket
    cas = items.shown_cas(bucket, PREFIX + key, item.cas)
    with_value = meta.value and meta.cas != cas
    parts = [b"VA %d" % len(item.value) if with_value else b"HD"]
    for letter in meta.letters:
        if letter == _CAS:
            parts.append(b" c%d" % cas)
        elif letter == _FLAGS:
            parts.append(b" f%d" % item.flags)
        elif letter == _TTL:
            parts.append(b" t%d" % ttl_left(item))
        elif letter == _SIZE:
            parts.append(b" s%d" % len(item.value))
        elif letter == _KEY:
            parts.append(encode_key(key, base64=meta.base64))
        elif letter == _OPAQUE:
            parts.append(b" " + opaque)
        elif letter == _HIT:
            parts.append(b" h%d" % (bucket.note_accesses().find(PREFIX + key, item.cas) is not None))
        elif letter == _LAST:
            parts.append(b" l%d" % bucket.note_accesses().since(PREFIX + key, item.cas))
    if item.datatype & WON and not won:
        parts.append(b" Z")
    if item.datatype & STALE:
        parts.append(b" X")
    if won:
        parts.append(b" W")
    parts.append(b"\r\n")
    if with_value:
        parts += item.value, b"\r\n"
    return b"".join(parts)


def ttl_left(item: Item) -> int:
    """Return the whole seconds that an item has left, or -1 if it does not expire."""
    return max(int(item.expiry - time.time()), 0) if item.expiry else -1


# What is known of an item


def meta_debug(exchange: TextExchange, request: Request) -> None:
    """Return what is known of an item.

    Line: key, and ``b`` if it is in base64. Reply: ``ME key name=value...``, or ``EN``.
    """
    if not request.arguments:
        raise RemoteProtocolError("CLIENT_ERROR bad command line format")
    wanted = Wanted(*parse_meta_line(request.arguments))
    exchange.bucket.note_accesses()
    exchange.read(PREFIX + wanted.key, wanted, request.size, _encode_debug)


def _encode_debug(exchange: TextExchange, wanted: Wanted, item: Item | None) -> bytes:
    key, meta, _ = wanted
    if item is None:
        return b"EN\r\n"
    accesses, stored = exchange.bucket.note_accesses(), PREFIX + key
    shown = encode_key(key, base64=meta.base64)[2:].partition(b" ")[0]
    fetched = b"yes" if accesses.find(stored, item.cas) is not None else b"no"
    return b"ME %b exp=%d la=%d cas=%d fetch=%b cls=1 size=%d\r\n" % (
        shown, ttl_left(item), accesses.since(stored, item.cas), item.cas, fetched, len(key) + len(item.value),
    )  # fmt: skip


COMMANDS: Final = (
    Command("mg", meta_get, READ),
    Command("me", meta_debug, READ),
)
