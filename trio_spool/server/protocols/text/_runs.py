"""Runs of ``get`` and ``mg``, which are answered together."""

from __future__ import annotations

from functools import partial
from typing import Final

from ....engine import MARKS, StorageError
from ....mctext import MetaFlags, Run
from ...commands import items, noting
from ...settings import EXCHANGE_SIZE
from ._exchange import PREFIX, TextExchange
from ._meta_getting import Wanted, answer_meta_get
from ._reading import Reading, read_on

# The flags of `mg` that a run answers from what a read of many items returns.
_QUICK: Final = frozenset(b"cfksO")
_MISS: Final = b"EN\r\n"


def answer_run(exchange: TextExchange, run: Run) -> None:
    """Answer requests for one item each, as many as one exchange has room for."""
    if run.meta is None:
        read_on(exchange, Reading(run.keys, cas=run.cas, each=True))
    else:
        _answer_meta(exchange, run.keys, run.meta, run.opaque)


def _answer_meta(exchange: TextExchange, keys: list[bytes], meta: MetaFlags, opaque: bytes) -> None:
    if exchange.operations or not _is_quick(exchange, meta):
        _answer_each(exchange, keys, meta, opaque)
    else:
        _answer_together(exchange, keys, meta, opaque)
    if keys:
        exchange.continue_with(partial(_answer_meta, exchange, keys, meta, opaque))


def _is_quick(exchange: TextExchange, meta: MetaFlags) -> bool:
    """Whether nothing but values, flags and CAS is asked for."""
    return (
        _QUICK.issuperset(meta.letters)
        and not meta.base64
        and meta.cas is meta.create_ttl is meta.recache is meta.ttl is None
        and not noting.reads_wanted(exchange.shared, exchange.bucket)
        and not exchange.bucket.engine.locks
    )


def _answer_each(exchange: TextExchange, keys: list[bytes], meta: MetaFlags, opaque: bytes) -> None:
    most = exchange.shared.settings.max_in_flight
    count = 0
    for key in keys:
        if count and (exchange.is_full or len(exchange.replies) >= most):
            break
        answer_meta_get(exchange, Wanted(key, meta, opaque), len(key))
        count += 1
    del keys[:count]


def _answer_together(exchange: TextExchange, keys: list[bytes], meta: MetaFlags, opaque: bytes) -> None:
    """Answer requests, as long as no item is marked: what the mark of an item means for its client, only an operation decides."""
    room = EXCHANGE_SIZE - exchange.size
    most = max(exchange.shared.settings.max_in_flight - len(exchange.replies), 1)
    try:
        found = exchange.reader.get_many([PREFIX + key for key in (keys if len(keys) <= most else keys[:most])], max(room, 0))
    except StorageError as exc:  # of the first one: the others may be read
        del keys[:1]
        exchange.fail(exc)
        return
    parts: list[bytes] = []
    append = parts.append
    answered = misses = 0
    letters, value_too, plain = meta.letters, meta.value, meta.letters in (b"", b"f")
    flags_too = bool(letters)
    for key, item in zip(keys, found, strict=False):
        if item is None:
            misses += 1
            append(_miss(key, meta, opaque) if letters or meta.quiet else _MISS)
        else:
            value, flags, datatype, cas = item
            if datatype & MARKS:
                break
            append(b"VA %d" % len(value) if value_too else b"HD")
            if not plain:
                append(_flags(letters, key, opaque, len(value), flags, cas))
            elif flags_too:
                append(b" f%d" % flags)
            append(b"\r\n")
            if value_too:
                append(value)
                append(b"\r\n")
        answered += 1
    exchange.reply(b"".join(parts))
    items.count_gets(exchange.shared.counters, answered - misses, misses)
    if misses:
        exchange.count_failure("not_found", misses)
    del keys[:answered]
    if answered < len(found):
        answer_meta_get(exchange, Wanted(keys.pop(0), meta, opaque), 0)


def _miss(key: bytes, meta: MetaFlags, opaque: bytes) -> bytes:
    if meta.quiet:
        return b""
    parts = [b"EN"]
    for letter in meta.letters:
        if letter == 79:
            parts.append(b" " + opaque)
        elif letter == 107:
            parts.append(b" k" + key)
    parts.append(b"\r\n")
    return b"".join(parts)


def _flags(letters: bytes, key: bytes, opaque: bytes, size: int, flags: int, cas: int) -> bytes:
    parts = []
    for letter in letters:
        if letter == 99:
            parts.append(b" c%d" % cas)
        elif letter == 102:
            parts.append(b" f%d" % flags)
        elif letter == 107:
            parts.append(b" k" + key)
        elif letter == 115:
            parts.append(b" s%d" % size)
        else:
            parts.append(b" " + opaque)
    return b"".join(parts)
