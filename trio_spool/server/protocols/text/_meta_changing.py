"""``ms``, ``md``, ``ma``."""

from __future__ import annotations

from functools import partial
from typing import Final

from ....engine import Operation, Outcome, Problem, StoreMode
from ....mctext import MAX_TOKENS, BlockLine, MetaFlags, RemoteProtocolError, Request, encode_key, parse_meta_line
from ...commands import items
from ...conversation import READ_AND_WRITE, WRITE
from ._changing import note_deleted
from ._exchange import PREFIX, TextExchange
from ._meta_getting import Wanted, returned, ttl_left
from ._problems import line_of_problem
from ._row import Command
from ._storing import note_look, note_stored, refuse_too_big, too_big

_STORING: Final = {b"": StoreMode.SET, b"S": StoreMode.SET, b"E": StoreMode.ADD, b"R": StoreMode.REPLACE}
_CONCATENATING: Final = frozenset((b"A", b"P"))
# The names of the modes in what is watched.
_NAMES: Final = {b"": "set", b"S": "set", b"E": "add", b"R": "replace", b"A": "append", b"P": "prepend"}
_DECREMENTING: Final = {b"": False, b"I": False, b"+": False, b"D": True, b"-": True}
_CODES: Final = {Problem.NOT_FOUND: b"NF", Problem.EXISTS: b"EX", Problem.NOT_STORED: b"NS"}
_OPAQUE_TOO_LONG: Final = "CLIENT_ERROR opaque token too long"


def _code(outcome: Outcome, *, not_stored: bool = False) -> bytes:
    """Return the code of a reply; nothing if the outcome is none that a code stands for."""
    if outcome.problem is None:
        return b"HD"
    code = _CODES.get(outcome.problem, b"")
    return b"NS" if code and not_stored else code


# ms


def meta_set(exchange: TextExchange, request: Request) -> None:
    """Store an item, in the mode of the flag M: set (S), add (E), replace (R), append (A) or prepend (P).

    Line: key, size, flags. Block: the value. Reply: ``HD flags``, or ``NS``, ``EX`` or ``NF``.
    """
    line = request.line
    assert line is not None
    meta = line.meta
    assert meta is not None
    key, new_cas = PREFIX + line.key, meta.new_cas or 0
    note_look(exchange, line.key)
    if len(request.value) > exchange.bucket.max_value:
        refuse_too_big(exchange, too_big(request))
        return
    if meta.mode in _CONCATENATING:
        operation: Operation = items.concatenate_or_create(
            exchange.bucket, key, request.value, prepend=meta.mode == b"P", cas=items.compared(meta.cas),
            max_size=exchange.shared.settings.max_item_size, flags=meta.flags, expiry=meta.create_ttl, new_cas=new_cas,
        )  # fmt: skip
    else:
        mode = _STORING[meta.mode]
        # A CAS makes a set of it, and of a replace; what is new has none to compare with.
        cas = items.compared(meta.cas) if mode is not StoreMode.ADD else 0
        operation = items.store(
            exchange.bucket, key, request.value, mode=mode, flags=meta.flags, expiry=line.expiry, cas=cas, new_cas=new_cas,
            or_stale=meta.stale and bool(meta.cas),
        )  # fmt: skip
    exchange.operate(request, request.size, operation, _encode_set)


def _encode_set(exchange: TextExchange, request: Request, outcome: Outcome) -> bytes:
    line = request.line
    assert line is not None
    meta = line.meta
    assert meta is not None
    note_stored(exchange, _NAMES[meta.mode], line, outcome)
    code = _code(outcome, not_stored=meta.mode in _CONCATENATING or (meta.cas is None or meta.mode == b"E"))
    if outcome.problem is Problem.EXISTS and meta.mode in _CONCATENATING:
        code = b"EX"
    if not code:
        assert outcome.problem is not None
        return line_of_problem(outcome.problem)
    if meta.quiet and outcome.problem is None:
        return b""
    return code + _returned_of_set(line, meta, outcome) + b"\r\n"


def _returned_of_set(line: BlockLine, meta: MetaFlags, outcome: Outcome) -> bytes:
    parts = []
    for letter in meta.letters:
        if letter == ord("O"):
            parts.append(b" " + line.opaque)
        elif letter == ord("k"):
            parts.append(encode_key(line.key, base64=meta.base64))
        elif letter == ord("c"):
            parts.append(b" c%d" % outcome.cas)
        elif letter == ord("s"):
            parts.append(b" s%d" % (line.length if outcome.number is None else outcome.number))
    return b"".join(parts)


# md and ma


def _parse(request: Request) -> Wanted:
    """Parse the line of one of these, whose errors memcached words in its own way."""
    if len(request.arguments) >= MAX_TOKENS:
        raise RemoteProtocolError("CLIENT_ERROR options flags too long")
    try:
        return Wanted(*parse_meta_line(request.arguments))
    except RemoteProtocolError as exc:
        if str(exc) in ("ERROR", "CLIENT_ERROR bad command line format", _OPAQUE_TOO_LONG):
            raise
        raise RemoteProtocolError("CLIENT_ERROR invalid or duplicate flag") from exc


def meta_delete(exchange: TextExchange, request: Request) -> None:
    """Delete an item; mark it as stale (I), so that a client makes a new value; or remove its value (x).

    Line: key, flags. Reply: ``HD flags``, or ``NF`` or ``EX``.
    """
    wanted = _parse(request)
    key, meta, _ = wanted
    cas = items.compared(meta.cas)
    if meta.stale or meta.drop_value:
        operation: Operation = items.invalidate(
            exchange.bucket, PREFIX + key, cas=cas, expiry=meta.ttl if meta.stale else None, stale=meta.stale,
            drop_value=meta.drop_value, new_cas=meta.new_cas or 0,
        )  # fmt: skip
    else:
        operation = items.delete(PREFIX + key, cas)
    exchange.operate(wanted, request.size, operation, _encode_delete)


def _encode_delete(exchange: TextExchange, wanted: Wanted, outcome: Outcome) -> bytes:
    key, meta, _ = wanted
    if not (meta.stale or meta.drop_value) or outcome.problem is not None:
        note_deleted(exchange, key, "md", outcome)
    code = _code(outcome)
    if not code:
        assert outcome.problem is not None
        return line_of_problem(outcome.problem)
    if meta.quiet and outcome.problem is None:
        return b""
    return code + returned(wanted) + b"\r\n"


def meta_arithmetic(exchange: TextExchange, request: Request) -> None:
    """Add to a number (mode I), or subtract (mode D).

    Line: key, flags. Reply: ``HD flags``, or ``VA size flags`` and the number, or ``NF``, ``NS`` or ``EX``.
    """
    wanted = _parse(request)
    key, meta, _ = wanted
    decrement = _DECREMENTING.get(meta.mode)
    if decrement is None:
        raise RemoteProtocolError("CLIENT_ERROR invalid mode for ma M token")
    operation = items.count(
        exchange.bucket, PREFIX + key, -meta.delta if decrement else meta.delta, initial=meta.initial, expiry=meta.create_ttl,
        cas=meta.cas or 0, new_expiry=meta.ttl, padded=True, new_cas=meta.new_cas or 0,
    )  # fmt: skip
    exchange.operate(wanted, request.size, operation, partial(_encode_arithmetic, decrement=decrement))


def _encode_arithmetic(exchange: TextExchange, wanted: Wanted, outcome: Outcome, *, decrement: bool) -> bytes:
    key, meta, _ = wanted
    items.count_arithmetic(exchange.shared.counters, outcome, decrement=decrement)
    item, number = outcome.item, outcome.number
    if item is None or number is None:
        code = _code(outcome)
        if not code:
            assert outcome.problem is not None
            return line_of_problem(outcome.problem)
        return code + returned(wanted) + b"\r\n"
    if meta.quiet:
        return b""
    value = b"%d" % number
    parts = [b"VA %d" % len(value) if meta.value else b"HD"]
    for letter in meta.letters:
        if letter == ord("c"):
            parts.append(b" c%d" % outcome.cas)
        elif letter == ord("t"):
            parts.append(b" t%d" % ttl_left(item))
        elif letter == ord("O"):
            parts.append(b" " + wanted.opaque)
        elif letter == ord("k"):
            parts.append(encode_key(key, base64=meta.base64))
    parts.append(b"\r\n%b\r\n" % value if meta.value else b"\r\n")
    return b"".join(parts)


COMMANDS: Final = (
    Command("ms", meta_set, WRITE),
    Command("md", meta_delete, WRITE),
    Command("ma", meta_arithmetic, READ_AND_WRITE),
)
