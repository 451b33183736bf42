"""``set``, ``add``, ``replace``, ``append``, ``prepend``, ``cas``."""

from __future__ import annotations

from typing import Final

from ....engine import Operation, Outcome, Problem, StoreMode
from ....mctext import EXISTS, NOT_FOUND, NOT_STORED, STORED, BlockLine, Rejected, Request, encode_line
from ...commands import items, noting
from ...conversation import WRITE, Refusal
from ._exchange import PREFIX, TextExchange
from ._problems import TOO_LARGE, line_of_problem
from ._row import Command

_MODES: Final = {b"set": StoreMode.SET, b"add": StoreMode.ADD, b"replace": StoreMode.REPLACE, b"cas": StoreMode.SET}
_CONCATENATING: Final = frozenset((b"append", b"prepend"))


def store(exchange: TextExchange, request: Request) -> None:
    """Store an item: in any case (``set``), if it is new (``add``), if it exists (``replace``), if it has a CAS (``cas``).

    Line: key, flags, expiry, size, for ``cas`` the CAS, ``noreply``. Block: the value.
    """
    line = request.line
    assert line is not None
    note_look(exchange, line.key)
    if len(request.value) > exchange.bucket.max_value:
        refuse_too_big(exchange, too_big(request))
        return
    operation = items.store(
        exchange.bucket, PREFIX + line.key, request.value, mode=_MODES[request.command], flags=line.flags, expiry=line.expiry,
        cas=items.compared(line.cas),
    )  # fmt: skip
    exchange.operate(request, request.size, operation, _encode)


def concatenate(exchange: TextExchange, request: Request) -> None:
    """Append to the value of an item, or prepend to it. The item keeps its flags and its expiry.

    Line: key, flags, expiry, size, ``noreply``. Block: what is added.
    """
    line = request.line
    assert line is not None
    note_look(exchange, line.key)
    operation: Operation = items.concatenate(
        PREFIX + line.key, request.value, prepend=request.command == b"prepend", cas=0,
        max_size=exchange.shared.settings.max_item_size,
    )  # fmt: skip
    exchange.operate(request, request.size, operation, _encode)


def _encode(exchange: TextExchange, request: Request, outcome: Outcome) -> bytes:
    line = request.line
    assert line is not None
    note_stored(exchange, request.command.decode(), line, outcome)
    if line.noreply:
        return b""
    problem = outcome.problem
    if problem is None:
        return STORED
    if problem is Problem.EXISTS:
        return EXISTS if line.cas is not None else NOT_STORED
    if problem is Problem.NOT_FOUND:
        return NOT_FOUND if line.cas is not None else NOT_STORED
    return NOT_STORED if problem is Problem.NOT_STORED else line_of_problem(problem)


def note_look(exchange: TextExchange, key: bytes) -> None:
    """Report to those who watch reads that an item is looked for before it is stored, as memcached does."""
    if exchange.shared.events.fetchers and exchange.local:
        item = exchange.reader.get(PREFIX + key)
        noting.looked(exchange.shared, exchange.connection, PREFIX + key, None if item is None else len(item.value))


def note_stored(exchange: TextExchange, command: str, line: BlockLine, outcome: Outcome) -> None:
    """Count a store, and report it to those who watch."""
    shared = exchange.shared
    items.count_store(shared.counters, outcome, 0 if line.cas is None else line.cas or items.NO_CAS)
    if noting.changes_wanted(shared):
        noting.stored(shared, exchange.connection, PREFIX + line.key, command, outcome, line.expiry, line.length)


def too_big(request: Request) -> Rejected:
    """Return a request whose value is larger than any that its bucket can take, as the decoder would have rejected it."""
    return Rejected(TOO_LARGE.rstrip(), command=request.command, line=request.line)


def refuse_too_big(exchange: TextExchange, rejected: Rejected) -> None:
    """Reply that a value is too large. A ``set`` deletes the old value: nobody should read it for the new one."""
    line, command = rejected.line, rejected.command
    assert line is not None
    exchange.shared.limits.hit("max-item-size")
    exchange.count_failure("too_big")
    if exchange.session.refusal(WRITE) is not Refusal.NONE:
        exchange.reply(b"CLIENT_ERROR you may not write here\r\n")
    elif command in (b"set", b"ms"):
        exchange.operate(rejected, len(line.key), items.delete(PREFIX + line.key), _encode_too_big)
    else:
        exchange.reply(_encode_too_big(exchange, rejected, Outcome()))


def _encode_too_big(exchange: TextExchange, rejected: Rejected, outcome: Outcome) -> bytes:
    line = rejected.line
    assert line is not None
    name = rejected.command.decode() if rejected.command != b"ms" else "set"
    if noting.changes_wanted(exchange.shared):
        too_big = Outcome(Problem.TOO_BIG)
        noting.stored(exchange.shared, exchange.connection, PREFIX + line.key, name, too_big, line.expiry, line.length)
    return b"" if line.noreply and line.meta is None else encode_line(rejected.reply)


COMMANDS: Final = (
    Command("set", store, WRITE, noreply=True),
    Command("add", store, WRITE, noreply=True),
    Command("replace", store, WRITE, noreply=True),
    Command("append", concatenate, WRITE, noreply=True),
    Command("prepend", concatenate, WRITE, noreply=True),
    Command("cas", store, WRITE, noreply=True),
)
