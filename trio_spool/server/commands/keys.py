"""Commands on many keys, for worker threads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import trio

from ...engine import Engine, Item
from .._buckets import space_of

# Keys that are looked at to choose one of them at random.
MOST_CHOICES: Final = 1_000_000
_CHECK_EVERY: Final = 1024


def keys_from_in_thread(engine: Engine, start: bytes) -> Iterator[bytes]:
    """Yield the stored keys of a collection in order, from one on.

    Raises:
        trio.Cancelled: Nobody wants to know any more.
    """
    prefix = space_of(start)
    for number, (key, _) in enumerate(engine.entries(start)):
        if not key.startswith(prefix):
            return
        if not number % _CHECK_EVERY:
            trio.from_thread.check_cancelled()
        yield key


def choose_in_thread(engine: Engine, prefix: bytes) -> tuple[bytes, Item] | None:
    """Choose one of the keys with a prefix, each as likely as any other if there are no more than `MOST_CHOICES`.

    Raises:
        trio.Cancelled: Nobody wants to know any more.
    """
    while (held := engine.spaces.get(prefix)) is not None:
        number = random.randrange(min(held.items, MOST_CHOICES))
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
        # It was deleted meanwhile.
    return None
