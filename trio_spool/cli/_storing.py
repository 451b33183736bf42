"""Storing many documents: requests are sent ahead of their replies."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ..client import Client, ConnectionLostError, ServerError
from ..mcbp import DataType, Feature, Opcode, PathFlag
from ._common import printable
from ._destinations import Destinations
from ._documents import Item
from ._errors import ConnectionFailedError
from ._places import Declaration

# Requests that wait for their replies at the same time. Picked, not measured: enough to keep both sides busy.
PIPELINE: Final = 512


# The length of the path, and its flags: it is in an attribute, and may be new.
_PATH_EXTRAS = struct.Struct(">HB")
_PATH_FLAGS: Final = PathFlag.XATTR | PathFlag.CREATE


class _Waiting(NamedTuple):
    """A request that waits for its reply: for a whole document, or for one attribute of it."""

    key: bytes
    call: Any
    whole: bool = True


async def _begin_xattr(client: Client, key: bytes, name: str, text: str) -> Any:
    """Send the request that stores an attribute of a document, which keeps its expiry."""
    path = name.encode()  # a name has no character that means something in a path
    extras = _PATH_EXTRAS.pack(len(path), _PATH_FLAGS)
    return await client.start(Opcode.SUBDOC_DICT_UPSERT, key=key, extras=extras, value=path + text.encode())


async def store_all(
    client: Client, items: Iterable[Item | Declaration], report: Callable[[], None], destinations: Destinations
) -> int:
    """Store items, and return their number.

    Args:
        client: The client, with negotiated features.
        items: The items. They are taken as they can be sent: at most `PIPELINE` wait for their replies.
        report: Is called after each item that was stored.
        destinations: Where they go.

    Raises:
        ConnectionFailedError: The server refuses an item. The items before it are stored, and maybe some after it.
        FileError: An item can't go where the options say. The items before it are stored, or on their way.
    """
    waiting: deque[_Waiting] = deque()
    stored = 0

    async def settle_first() -> None:
        nonlocal stored
        first = waiting.popleft()
        try:
            await client.finish_set(first.call)
        except ConnectionLostError as exc:
            raise type(exc)(f"{exc}; {stored} documents are stored, and maybe some more") from exc
        except ServerError as exc:
            what = f"{printable(first.key)!r}" if first.whole else f"all attributes of {printable(first.key)!r}"
            raise ConnectionFailedError(f"stored {stored} documents, but not {what}: {exc}") from None
        if first.whole:
            stored += 1
            report()

    for item in items:
        if isinstance(item, Declaration):
            await destinations.declare(item)
            continue
        key = await destinations.key_of(item)
        known = DataType.JSON if Feature.JSON in client.features else DataType.RAW
        call = await client.begin_set(key, item.value, flags=item.flags, expiry=item.expiry, datatype=item.datatype & known)
        waiting.append(_Waiting(item.key, call))
        for name, text in item.xattrs:
            waiting.append(_Waiting(item.key, await _begin_xattr(client, key, name, text), whole=False))
        while len(waiting) >= PIPELINE:
            await settle_first()
    while waiting:
        await settle_first()
    return stored
