"""Commands that select, list, create and delete buckets and collections."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from ..mcbp import Opcode, Status
from ._collections import Collections, parse_collections
from ._connection import Connection
from ._errors import AccessError, ConnectionLostError, NotFoundError, ServerError, UnknownCollectionError

_IDENTITY = struct.Struct(">QL")
# How often to try a change of the collections while changes of other clients come first, of which one succeeds each time. Picked.
_ATTEMPTS = 20
# The name of a bucket, which is also a path on the command line and in backups; and the number of bytes of all names. Picked.
_NAME: Final = re.compile(rb"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,99}")
_MAX_NAMES: Final = 1024 * 1024


class Administration(Connection):
    """The commands on buckets and collections."""

    async def select_bucket(self, name: str) -> None:
        """Select the bucket that later requests work on.

        Raises:
            AccessError: The bucket does not exist, or this user may not use it.
        """
        try:
            await self._call(Opcode.SELECT_BUCKET, key=name.encode())
        except (AccessError, NotFoundError) as exc:
            raise AccessError(f"the bucket {name!r} does not exist, or this user may not use it", exc.status) from None

    async def list_buckets(self) -> list[str]:
        """Return the names of the buckets that this user may use."""
        value = (await self._call(Opcode.LIST_BUCKETS)).value
        names = value[:_MAX_NAMES].split()
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConnectionLostError(f"the server sent {name[:100]!r}, which can't be the name of a bucket")
        if len(value) > _MAX_NAMES or len(set(names)) != len(names):
            raise ConnectionLostError("the server sent names of buckets twice, or too many of them")
        return [name.decode() for name in names]

    async def create_bucket(self, name: str, *, max_size: int | None = None, evict: str | None = None) -> None:
        """Create a bucket.

        Args:
            name: Its name.
            max_size: Bytes that its items may take, 0 for no bound; None for what the server's settings say.
            evict: What happens when they would take more: ``size-aware`` or ``none``; None likewise.

        Raises:
            ExistsError: A bucket has this name already.
            AccessError: The user may not create buckets.
        """
        config = {"max_size": max_size, "evict": evict}
        value = ";".join(f"{key}={value}" for key, value in config.items() if value is not None)
        await self._call(Opcode.CREATE_BUCKET, key=name.encode(), value=value.encode())

    async def delete_bucket(self, name: str) -> None:
        """Delete a bucket and all its data. Other connections that work on it are closed.

        Raises:
            NotFoundError: No bucket has this name.
            AccessError: The user may not delete buckets.
        """
        await self._call(Opcode.DELETE_BUCKET, key=name.encode())

    async def collections(self) -> Collections:
        """Return the scopes and collections of the selected bucket."""
        return parse_collections((await self._call(Opcode.GET_COLLECTIONS_MANIFEST)).value)

    async def set_collections(self, collections: Collections) -> None:
        """Replace the scopes and collections of the selected bucket. The data of those that are left out is deleted.

        Raises:
            ServerError: The server refused the change. The status RANGE_ERROR means that another change came first: the uid is not
                higher than the current one.
            AccessError: The user may not change collections.
        """
        await self._call(Opcode.SET_COLLECTIONS_MANIFEST, value=collections.to_json())

    async def change_collections(self, change: Callable[[Collections], Collections]) -> Collections:
        """Change the scopes and collections of the selected bucket, and return the new ones.

        If this is cancelled, they may have been changed.

        Args:
            change: Takes the current scopes and collections, and returns the new ones, with a higher uid. It is called again if
                another change came first.

        Raises:
            ServerError: The server refused the change, or other changes came first each time.
            Exception: `change` raised it.
        """
        attempts = 0
        while True:
            changed = change(await self.collections())
            try:
                await self.set_collections(changed)
                return changed
            except ServerError as exc:
                attempts += 1
                if exc.status != Status.RANGE_ERROR or attempts == _ATTEMPTS:
                    raise

    async def collection_id(self, path: str) -> int:
        """Return the id of a collection of the selected bucket.

        Args:
            path: The collection, as ``scope.collection``.

        Raises:
            UnknownCollectionError: The bucket has no such collection.
        """
        try:
            extras = (await self._call(Opcode.GET_COLLECTION_ID, value=path.encode())).extras
        except UnknownCollectionError as exc:
            raise UnknownCollectionError(f"no collection is named {path!r}", exc.status) from None
        if len(extras) != _IDENTITY.size:
            raise ConnectionLostError(f"the server sent the id of a collection in {len(extras)} bytes, not {_IDENTITY.size}")
        _, number = _IDENTITY.unpack(extras)
        return int(number)
