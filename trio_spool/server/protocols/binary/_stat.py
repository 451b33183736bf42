"""STAT: one frame for each statistic, and an empty one at the end, all generated in a worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ....mcbp import KeyRule, Opcode, Request, encode_response, shape
from ...conversation import STATS
from ...statistics import HISTOGRAM, TIMINGS, RawRow, Row, as_text, ask
from ._exchange import BinaryExchange
from ._row import Command

_DETAIL_DUMP: Final = "detail dump"
# As in memcached's text protocol.
_PREFIX_LINE: Final = b"PREFIX %b %b\r\n"


def stat(exchange: BinaryExchange, request: Request) -> None:
    """Return a group of statistics: one frame for each, and an empty one at the end.

    Key: the group, and an argument after a blank. To Couchbase's tools, ``timings`` is ``timings histogram``, which is all that
    they can read. ``detail dump`` is one packet, as in memcached, with the lines of its text protocol.
    """
    user = exchange.session.user
    assert user is not None  # the rule of the command has seen to it
    wanted = request.key.decode("utf-8", "replace")
    if wanted.rstrip() == TIMINGS and exchange.features.of_tool:
        wanted = f"{TIMINGS} {HISTOGRAM}"
    rows = ask(exchange.shared, exchange.bucket, user, wanted)
    frames = _frames(_joined(rows) if wanted.rstrip() == _DETAIL_DUMP else as_text(rows), request.opaque)
    exchange.later(lambda context: context.spool(frames))


def _joined(rows: Iterable[Row] | Iterable[RawRow]) -> Iterator[tuple[bytes, bytes]]:
    """Return the uses of all prefixes as one statistic."""
    yield b"detailed", b"".join(_PREFIX_LINE % each for each in as_text(rows)) + b"END\r\n"


def _frames(statistics: Iterable[tuple[bytes, bytes]], opaque: int) -> Iterator[bytes]:
    """Encode statistics, in a worker thread. The terminator comes only if they end well."""
    for name, value in statistics:
        yield encode_response(Opcode.STAT, 0, opaque, key=name, value=value)
    yield encode_response(Opcode.STAT, 0, opaque)


COMMANDS: Final = (Command(Opcode.STAT, shape(0, key=KeyRule.OPTIONAL, value=True), stat, STATS, reorderable=True),)
