"""The groups of statistics, each described in one row: what clients ask for, and who may."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

import attrs

from ...auth import Role, User
from ..data import Bucket
from ..shared import Shared
from . import _activity, _contents, _item, _memcached, _service, _tasks
from ._errors import NoGroupError, NotForUserError
from ._rows import RawRow, Row


class Shows(Enum):
    """What a group shows, which decides who may see it."""

    OWN = "own"  # the selected bucket: takes the role stats there
    KEYS = "keys"  # the names of keys: takes the role read as well
    OTHERS = "others"  # all buckets and clients: takes the role stats for every bucket


@attrs.frozen
class Group:
    """One group of statistics.

    Attributes:
        name: What clients ask for.
        run: Returns its rows, or None if it does not take the argument. Called in the event loop's thread; the rows may be a
            generator, which a worker thread runs.
        shows: What it shows.
        without_keys: Stands in for `run` for those who may not read the items of all buckets.
    """

    name: str
    run: Callable[[Shared, Bucket, str], Iterable[Row] | Iterable[RawRow] | None]
    shows: Shows = Shows.OWN
    without_keys: Callable[[Shared, Bucket, str], Iterable[Row] | None] | None = None

    @property
    def summary(self) -> str:
        """The first paragraph of its documentation, on one line."""
        return " ".join((self.run.__doc__ or "").partition("\n\n")[0].split())


_GROUPS: Final = (
    Group("", _service.general),
    Group("settings", _service.settings),
    Group("config", _service.settings),
    Group(_service.TIMINGS, _service.timings),
    Group("requests", _service.requests),
    Group("limits", _service.limits),
    Group("loop", _service.loop),
    Group("spool", _service.spool),
    Group("threads", _service.threads),
    Group("reset", _service.reset),
    Group("detail", _service.detail, Shows.OTHERS),
    Group("items", _service.nothing),
    Group("slabs", _service.nothing),
    Group("sizes", _service.nothing),
    Group("conns", _memcached.conns, Shows.OTHERS),
    Group("cachedump", _memcached.cachedump, Shows.KEYS),
    Group("engine", _contents.engine),
    Group("keys", _contents.keys, Shows.KEYS),
    Group("key", _item.key, Shows.KEYS),
    Group("kvstore", _item.kvstore),
    Group("collections", _contents.collections),
    Group("scopes", _contents.scopes),
    Group("vbucket", _contents.vbucket),
    Group("vbucket-details", _contents.vbucket_details),
    Group("failovers", _contents.failovers),
    Group("uuid", _contents.uuid),
    Group("buckets", _contents.buckets, Shows.OTHERS),
    Group("connections", _activity.connections, Shows.OTHERS),
    Group("tasks", _tasks.tasks, Shows.OTHERS),
    Group("slow", _activity.slow, Shows.OTHERS, without_keys=_activity.slow_without_keys),
    Group("incidents", _activity.incidents, Shows.OTHERS),
    Group("range-scans", _activity.range_scans, Shows.OTHERS),
    Group("snapshots", _activity.snapshots, Shows.OTHERS),
)
GROUPS: Final[dict[str, Group]] = {group.name: group for group in _GROUPS}


def ask(shared: Shared, bucket: Bucket, user: User, wanted: str) -> Iterable[Row] | Iterable[RawRow]:
    """Return the rows of a group.

    Args:
        shared: What the group is about.
        bucket: The bucket that the client has selected.
        user: Who asks. The role stats on the bucket has been checked.
        wanted: The name of the group, and an argument after a blank.

    Raises:
        NotForUserError: The user may not see the group.
        NoGroupError: There is no such group, or it does not take the argument.
    """
    name, _, argument = wanted.partition(" ")
    group = GROUPS.get(name)
    if group is None:
        raise NoGroupError(f"no group of statistics is named {wanted!r:.120}")
    if group.shows is Shows.KEYS and not user.may(Role.READ, bucket.name):
        raise NotForUserError(f"the group {name} shows keys, which needs the role read")
    if group.shows is Shows.OTHERS and not user.may(Role.STATS, None):
        raise NotForUserError(f"the group {name} shows all buckets, which needs the role stats for every bucket")
    run = group.run if group.without_keys is None or user.may(Role.READ, None) else group.without_keys
    rows = run(shared, bucket, argument)
    if rows is None:
        raise NoGroupError(f"the group of statistics {name!r} does not take the argument {argument!r:.120}")
    return rows
