"""``lru_crawler``: all keys, streamed by a worker thread; and what crawling is for, which happens by itself here."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

from ....engine import RECORD_OVERHEAD, Engine, Entry
from ....mctext import BAD_LINE, END, OK, RemoteProtocolError, Request, encode_line, is_text, parse_flags, quote_key
from ...commands.keys import entries_from_in_thread
from ...conversation import READ
from ...data import Accesses
from ._exchange import PREFIX, TextExchange
from ._row import Command

# What stands for everything: there are no classes of items.
_ALL: Final = frozenset((b"all", b"hash"))
# Microseconds.
_LONGEST_SLEEP: Final = 1_000_000

_Dump = Callable[[Engine, "Accesses | None"], Iterator[bytes]]


def lru_crawler(exchange: TextExchange, request: Request) -> None:
    """Return all keys: ``metadump all`` with what is known of each, ``mgdump all`` as requests for them.

    ``crawl``, ``enable``, ``disable``, ``sleep`` and ``tocrawl`` are accepted, and change nothing: expired items are removed in any
    case.
    """
    words = list(request.arguments)
    if words in ([b"enable"], [b"disable"]):
        exchange.reply(OK)
        return
    if len(words) != 2:
        raise RemoteProtocolError("ERROR")
    name, argument = words
    if name in _DUMPS:
        _dump(exchange, argument, _DUMPS[name])
    elif name == b"crawl":
        exchange.reply(OK if argument in _ALL else encode_line(b"BADCLASS invalid class id"))
    elif name in (b"sleep", b"tocrawl"):
        number = parse_flags(argument)
        if number is None:
            raise RemoteProtocolError(BAD_LINE)
        if name == b"sleep" and number > _LONGEST_SLEEP:
            raise RemoteProtocolError("CLIENT_ERROR sleep must be one second or less")
        exchange.reply(OK)
    else:
        raise RemoteProtocolError("ERROR")


def _dump(exchange: TextExchange, classes: bytes, dump: _Dump) -> None:
    if classes not in _ALL:
        exchange.reply(encode_line(b"BADCLASS invalid class id"))
        return
    bucket = exchange.bucket
    engine, accesses = bucket.engine, bucket.accesses
    exchange.later(lambda context: context.spool(dump(engine, accesses)))


def _metadump_in_thread(engine: Engine, accesses: Accesses | None) -> Iterator[bytes]:
    now = time.time()
    for key, entry in entries_from_in_thread(engine, PREFIX):
        yield _meta_line(key, entry, accesses, now)
    yield END


def _meta_line(key: bytes, entry: Entry, accesses: Accesses | None, now: float) -> bytes:
    last, fetched = entry.cas // 1_000_000_000, b"no"
    if accesses is not None and (read := accesses.find(key, entry.cas)) is not None:
        last, fetched = int(read), b"yes"
    return b"key=%b exp=%d la=%d cas=%d fetch=%b cls=1 size=%d flags=%d\n" % (
        quote_key(key[1:]), entry.expiry or -1, min(last, int(now)), entry.cas, fetched,
        len(key) + RECORD_OVERHEAD + entry.size, entry.flags,
    )  # fmt: skip


def _mgdump_in_thread(engine: Engine, accesses: Accesses | None) -> Iterator[bytes]:
    for key, _ in entries_from_in_thread(engine, PREFIX):
        shown = key[1:]
        yield b"mg %b\r\n" % shown if is_text(shown) else b"mg %b b\r\n" % b64encode(shown)
    yield b"EN\r\n"


_DUMPS: Final[dict[bytes, _Dump]] = {b"metadump": _metadump_in_thread, b"mgdump": _mgdump_in_thread}

COMMANDS: Final = (Command("lru_crawler", lru_crawler, READ, waits=True),)
