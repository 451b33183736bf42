"""What an environment holds beside the items, as it is found when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import lmdb

from .._operations import Space
from .._storage import Recovered, State
from ._records import (
    ALL_CHECKED,
    CHECKED_MEMORY_KEY,
    MEMORY_KEY,
    SPACE_KEY,
    STATE_KEY,
    pack_memory,
    unpack_memory,
    unpack_space,
    unpack_state,
)
from ._transaction import Databases

# Where the name of a database is, among those of its named databases.
IDENTITY = b"trio-spool identity"


def name_database(env: lmdb.Environment) -> bool:
    """Give a database of an older version a name, and return whether it had none.

    Raises:
        lmdb.Error: LMDB failed.
    """
    main = env.open_db()
    with env.begin(db=main) as reading:
        if reading.get(IDENTITY) is not None:
            return False
    with _writing(env, main) as transaction:
        transaction.put(IDENTITY, uuid4().bytes)
    return True


@contextmanager
def _writing(env: lmdb.Environment, database: Any) -> Iterator[lmdb.Transaction[bytes]]:
    transaction = env.begin(write=True, db=database)
    try:
        yield transaction
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise


def recover(env: lmdb.Environment, databases: Databases) -> Recovered:
    """Read what is stored beside the items.

    Raises:
        DamagedError: It is damaged.
        lmdb.Error: LMDB failed.
    """
    state = State()
    spaces: dict[bytes, Space] = {}
    memories: dict[bytes, bytes] = {}
    with env.begin(db=databases.meta) as transaction, transaction.cursor() as cursor:
        for key, value in cursor:
            if key == STATE_KEY:
                state = State(*unpack_state(value))
            elif key.startswith(SPACE_KEY):
                spaces[key[len(SPACE_KEY) :]] = Space(*unpack_space(key, value))
            elif key.startswith(MEMORY_KEY):
                memories[key[len(MEMORY_KEY) :]] = value
            elif key.startswith(CHECKED_MEMORY_KEY):
                memories[key[len(CHECKED_MEMORY_KEY) :]] = unpack_memory(key, value)
    return Recovered(state, spaces, memories)


def prepare(env: lmdb.Environment, databases: Databases) -> None:
    """Make a database that nobody has ever written to ready, and sync it: remember that every record in it has a checksum.

    It also gets a name of its own, in its main database, so that no page of another one is taken for its root.

    Raises:
        lmdb.Error: LMDB failed.
    """
    main = env.open_db()
    with _writing(env, databases.meta) as transaction:
        transaction.put(IDENTITY, uuid4().bytes, db=main)
        if not transaction.stat(databases.items)["entries"]:
            key = CHECKED_MEMORY_KEY + ALL_CHECKED
            transaction.put(key, pack_memory(key, b""))
    env.sync(True)  # whatever the policy is: the marker of the directory will say that there is a database
