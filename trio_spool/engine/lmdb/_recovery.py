"""What an environment holds beside the items, as it is found when it is opened."""

from __future__ import annotations

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

    Raises:
        lmdb.Error: LMDB failed.
    """
    transaction = env.begin(write=True, db=databases.meta)
    try:
        if not transaction.stat(databases.items)["entries"]:
            key = CHECKED_MEMORY_KEY + ALL_CHECKED
            transaction.put(key, pack_memory(key, b""))
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise
    env.sync(True)  # whatever the policy is: the marker of the directory will say that there is a database
