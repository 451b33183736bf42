"""``incr``, ``decr``, ``touch``, ``delete``, ``flush_all``."""

from __future__ import annotations

from functools import partial
from typing import Final

from ....engine import Outcome, Problem
from ....mctext import (
    DELETED,
    NOREPLY,
    NOT_FOUND,
    OK,
    TOUCHED,
    RemoteProtocolError,
    Request,
    check_key,
    encode_line,
    parse_expiry,
    parse_unsigned,
)
from ...commands import items, noting
from ...conversation import ADMIN_OF_BUCKET, READ_AND_WRITE, WRITE
from ._exchange import PREFIX, TextExchange
from ._problems import line_of_problem
from ._row import Command

_BAD_EXPIRY: Final = "CLIENT_ERROR invalid exptime argument"


def _is_quiet(request: Request) -> bool:
    return request.arguments[-1:] == [NOREPLY]


def count(exchange: TextExchange, request: Request) -> None:
    """Add to a number (``incr``), or subtract (``decr``). A number that becomes shorter keeps its length, by blanks behind it.

    Line: key, delta, ``noreply``. Reply: the new number.
    """
    arguments = request.arguments
    if len(arguments) not in (2, 3):
        raise RemoteProtocolError("ERROR")
    key, delta = check_key(arguments[0]), parse_unsigned(arguments[1])
    if delta is None:
        raise RemoteProtocolError("CLIENT_ERROR invalid numeric delta argument")
    decrement = request.command == b"decr"
    operation = items.count(
        exchange.bucket, PREFIX + key, -delta if decrement else delta, initial=0, expiry=None, cas=0, padded=True
    )
    exchange.operate(request, request.size, operation, partial(_encode_count, decrement=decrement))


def _encode_count(exchange: TextExchange, request: Request, outcome: Outcome, *, decrement: bool) -> bytes:
    items.count_arithmetic(exchange.shared.counters, outcome, decrement=decrement)
    if _is_quiet(request):
        return b""
    return b"%d\r\n" % outcome.number if outcome.number is not None else _problem(outcome)


def _problem(outcome: Outcome) -> bytes:
    assert outcome.problem is not None
    return line_of_problem(outcome.problem)


def touch(exchange: TextExchange, request: Request) -> None:
    """Change the expiry of an item.

    Line: key, expiry, ``noreply``. Reply: ``TOUCHED`` or ``NOT_FOUND``.
    """
    arguments = request.arguments
    if len(arguments) not in (2, 3):
        raise RemoteProtocolError("ERROR")
    key, expiry = check_key(arguments[0]), parse_expiry(arguments[1])
    if expiry is None:
        raise RemoteProtocolError(_BAD_EXPIRY)
    exchange.operate(request, request.size, items.touch(exchange.bucket, PREFIX + key, expiry, keep_cas=True), _encode_touch)


def _encode_touch(exchange: TextExchange, request: Request, outcome: Outcome) -> bytes:
    items.count_touch(exchange.shared.counters, outcome)
    if _is_quiet(request):
        return b""
    return TOUCHED if outcome.problem is None else _problem(outcome)


def delete(exchange: TextExchange, request: Request) -> None:
    """Delete an item.

    Line: key, ``noreply``. A 0 behind the key is accepted, as from clients of long ago.
    """
    arguments = list(request.arguments)
    if not 1 <= len(arguments) <= 3:
        raise RemoteProtocolError("ERROR")
    if arguments[1:] not in ([], [b"0"], [NOREPLY], [b"0", NOREPLY]):
        raise RemoteProtocolError("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]")
    exchange.operate(request, request.size, items.delete(PREFIX + check_key(arguments[0])), _encode_delete)


def _encode_delete(exchange: TextExchange, request: Request, outcome: Outcome) -> bytes:
    note_deleted(exchange, request.arguments[0], "delete", outcome)
    if len(request.arguments) > 1 and _is_quiet(request):  # alone, it is a key
        return b""
    if outcome.problem is None:
        return DELETED
    return NOT_FOUND if outcome.problem is Problem.NOT_FOUND else _problem(outcome)


def note_deleted(exchange: TextExchange, key: bytes, command: str, outcome: Outcome) -> None:
    """Count a deletion, and report it to those who watch."""
    shared = exchange.shared
    items.count_delete(shared.counters, outcome)
    if noting.changes_wanted(shared):
        noting.deleted(shared, exchange.connection, PREFIX + key, command, outcome)


def flush_all(exchange: TextExchange, request: Request) -> None:
    """Empty the bucket, now or later. Everything stored before that moment is gone after it.

    Line: when, as an expiry; ``noreply``.
    """
    arguments = list(request.arguments)
    if len(arguments) > 2:
        raise RemoteProtocolError("ERROR")
    quiet = _is_quiet(request)
    if exchange.shared.settings.disable_flush:
        if not quiet:
            exchange.reply(encode_line(b"CLIENT_ERROR flush_all not allowed"))
        return
    delay: int | None = 0
    if len(arguments) > quiet:
        delay = parse_expiry(arguments[0])
    if delay is None:
        raise RemoteProtocolError(_BAD_EXPIRY)
    exchange.operate(request, request.size, items.flush(delay), _encode_flush)


def _encode_flush(exchange: TextExchange, request: Request, outcome: Outcome) -> bytes:
    exchange.shared.counters.cmd_flush += 1
    if _is_quiet(request):
        return b""
    return OK if outcome.problem is None else _problem(outcome)


COMMANDS: Final = (
    Command("incr", count, READ_AND_WRITE, noreply=True),
    Command("decr", count, READ_AND_WRITE, noreply=True),
    Command("touch", touch, WRITE, noreply=True),
    Command("delete", delete, WRITE, noreply=True),
    Command("flush_all", flush_all, ADMIN_OF_BUCKET, noreply=True),
)
