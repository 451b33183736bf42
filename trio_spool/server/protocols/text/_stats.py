"""``stats``: one line for each statistic, and ``END``, all generated in a worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ....mctext import END, OK, RESET, RemoteProtocolError, Request, parse_flags
from ...conversation import STATS
from ...statistics import RawRow, Row, as_text, ask
from ._exchange import TextExchange
from ._row import Command

# The number of slab classes that memcached has, if not in use.
_SLAB_CLASSES: Final = 64
# Lines are sent once they have so many bytes, or all are there. The largest group that is no list has 2 KiB. Picked, not measured.
_BLOCK_SIZE: Final = 16 * 1024
# The form of a line, and that of the lines of some groups.
_FORM: Final = b"STAT %b %b\r\n"
_FORMS: Final = {"cachedump": b"ITEM %b %b\r\n", "detail": b"PREFIX %b %b\r\n"}


def stats(exchange: TextExchange, request: Request) -> None:
    """Return a group of statistics: ``STAT name value`` for each, and ``END``.

    Line: the group, and its arguments.
    """
    words = [word.decode("utf-8", "replace") for word in request.arguments]
    group = words[0] if words else ""
    user = exchange.session.user
    assert user is not None  # the rule of the command has seen to it
    if group == "detail" and (len(words) < 2 or words[1] not in ("on", "off", "dump")):
        raise RemoteProtocolError("CLIENT_ERROR usage: stats detail on|off|dump")
    if group == "cachedump":
        words = _check_cachedump(request.arguments)
    rows = ask(exchange.shared, exchange.bucket, user, " ".join(words))
    if group == "reset":
        exchange.reply(RESET)
    elif group == "detail" and words[1] != "dump":
        exchange.reply(OK)
    else:
        lines = _lines(rows, _FORMS.get(group, _FORM))
        exchange.later(lambda context: context.spool(lines))


def _check_cachedump(words: Sequence[bytes]) -> list[str]:
    if len(words) < 3:
        raise RemoteProtocolError("CLIENT_ERROR bad command line")
    number, limit = parse_flags(words[1]), parse_flags(words[2])
    if number is None or limit is None:
        raise RemoteProtocolError("CLIENT_ERROR bad command line format")
    if number >= _SLAB_CLASSES:
        raise RemoteProtocolError("CLIENT_ERROR Illegal slab id")
    return ["cachedump", str(number), str(limit)]


def _lines(rows: Iterable[Row] | Iterable[RawRow], form: bytes) -> Iterator[bytes]:
    """Encode statistics, in a worker thread. The end comes only if they end well.

    Yields:
        Many lines at once: emcache 1.3 takes whatever it receives for the whole reply if a line ends there. Most groups fit into
        one piece, as in memcached.
    """
    block = bytearray()
    for each in as_text(rows):
        block += form % each
        if len(block) >= _BLOCK_SIZE:
            yield bytes(block)
            block.clear()
    yield bytes(block + END)


COMMANDS: Final = (Command("stats", stats, STATS, waits=True),)
