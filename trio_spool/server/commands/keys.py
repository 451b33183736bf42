"""Commands on many keys. They belong to worker threads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import trio

from ...engine import Engine, Entry, Item
from ..data import space_of

# The most keys from which one is chosen at random. A walk over so many takes a worker some seconds.
MAX_CHOICES: Final = 1_000_000
# Keys between two looks for cancellation. Picked, not measured.
_CHECK_EVERY: Final = 1024


def keys_from_in_thread(engine: Engine, start: bytes) -> Iterator[bytes]:
    """Yield the stored keys of a collection in order, from `start` on.

    Raises:
        trio.Cancelled: The client has gone.
    """
    for key, _ in entries_from_in_thread(engine, start):
        yield key


def entries_from_in_thread(engine: Engine, start: bytes) -> Iterator[tuple[bytes, Entry]]:
    """Yield the stored keys of a collection in order, from `start` on, with what is known of each item but its value.

    Raises:
        trio.Cancelled: The client has gone.
    """
    prefix = space_of(start)
    for number, (key, entry) in enumerate(engine.entries(start)):
        if not key.startswith(prefix):
            return
        if not number % _CHECK_EVERY:
            trio.from_thread.check_cancelled()
        yield key, entry


def choose_in_thread(engine: Engine, prefix: bytes) -> tuple[bytes, Item] | None:
    """Return a random one of the items with a prefix, or None if there are none.

    Each is as likely as any other, if there are no more than `MAX_CHOICES`.

    Raises:
        trio.Cancelled: The client has gone.
    """
    while (held := engine.spaces.get(prefix)) is not None:
        number = random.randrange(min(held.items, MAX_CHOICES))
        chosen: bytes | None = None
        for count, key in enumerate(keys_from_in_thread(engine, prefix)):
            chosen = key
            if count == number:
                break
        if chosen is None:
            return None
        reader = engine.open_reader()
        try:
            item = reader.get(chosen)
        finally:
            reader.close()
        if item is not None:
            return chosen, item
        # It was deleted meanwhile: choose another one.
    return None
