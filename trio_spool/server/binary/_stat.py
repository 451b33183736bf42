"""STAT: one frame for each statistic, and an empty one at the end, all generated in a worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...auth import Role
from ...mcbp import Opcode, Request, Status, encode_response
from .._exchange import Exchange
from .._groups import GROUPS, Statistic

# Groups that show what is stored.
SHOW_KEYS = frozenset({"keys"})
# Groups that show what others do, in whatever bucket.
SHOW_OTHERS = frozenset({"buckets", "connections", "range-scans", "snapshots", "tasks"})


def stat(exchange: Exchange, request: Request) -> None:
    """Key: the group, and an argument after a blank."""
    name, _, argument = request.key.decode("utf-8", "replace").partition(" ")
    group = GROUPS.get(name)
    user = exchange.session.user
    assert user is not None  # or there would have been no access
    if name in SHOW_KEYS and not user.may(Role.READ, exchange.bucket.name):
        exchange.error(request, Status.NO_ACCESS, f"the group {name} shows keys, which takes the role read")
        return
    if name in SHOW_OTHERS and not user.may(Role.STATS, None):
        exchange.error(
            request, Status.NO_ACCESS, f"the group {name} shows all buckets, which takes the role stats for every bucket"
        )
        return
    statistics = group(exchange.service, exchange.bucket, argument) if group is not None else None
    if statistics is None:
        exchange.error(request, Status.NOT_FOUND, f"there is no group of statistics {request.key.decode('utf-8', 'replace')!r}")
        return
    frames = _frames(statistics, request.opaque)
    exchange.later(lambda answer: answer.spool(frames))


def _frames(statistics: Iterable[Statistic], opaque: int) -> Iterator[bytes]:
    """Encode statistics, in a worker thread; the terminator comes only if they end well."""
    for key, value in statistics:
        yield encode_response(Opcode.STAT, 0, opaque, key=key, value=value)
    yield encode_response(Opcode.STAT, 0, opaque)
