"""The room that an environment takes."""

from __future__ import annotations

from typing import NamedTuple

import lmdb

from ._transaction import Databases


class Usage(NamedTuple):
    """What an environment holds, and the room that it takes.

    Attributes:
        items: The number of items.
        disk: The bytes of the file that have been used.
        live: The bytes that the last commit needs. The list of free pages does not count.
        map: The bytes of address space that are reserved.
        page: The bytes of a page.
    """

    items: int
    disk: int
    live: int
    map: int
    page: int


def measure(env: lmdb.Environment, databases: Databases) -> Usage:
    """Return what an environment holds, and the room that it takes.

    Raises:
        lmdb.Error: LMDB failed.
    """
    info = env.info()
    with env.begin(db=databases.items) as transaction:
        stats = [env.stat(), *map(transaction.stat, databases)]
    page = stats[0]["psize"]
    live = 2 + sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)  # and two meta pages
    return Usage(stats[1]["entries"], (info["last_pgno"] + 1) * page, live * page, info["map_size"], page)
