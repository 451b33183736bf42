"""Buckets and collections: choosing, listing, making and deleting them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..mcbp import Opcode, Status
from ._collections import Collections, parse_collections
from ._connection import Connection
from ._errors import AccessError, ConnectionLostError, NotFoundError, ServerError, UnknownCollectionError

_IDENTITY = struct.Struct(">QL")
# How often a change of the collections is made anew because another one came first. Each time, somebody has succeeded.
_ATTEMPTS = 20


class Administration(Connection):
    """The commands on what holds the data."""

    async def select_bucket(self, name: str) -> None:
        """Work on a bucket from now on.

        Raises:
            AccessError: There is none of this name, or none that this user may use.
        """
        try:
            await self._call(Opcode.SELECT_BUCKET, key=name.encode())
        except (AccessError, NotFoundError) as exc:
            raise AccessError(f"there is no bucket {name!r} that this user may use", exc.status) from None

    async def list_buckets(self) -> list[str]:
        """Return the names of the buckets that this user may use."""
        return (await self._call(Opcode.LIST_BUCKETS)).value.decode().split()

    async def create_bucket(self, name: str) -> None:
        """Make a bucket.

        Raises:
            ExistsError: There is one of this name.
            AccessError: The user may not.
        """
        await self._call(Opcode.CREATE_BUCKET, key=name.encode())

    async def delete_bucket(self, name: str) -> None:
        """Delete a bucket and all that it holds. Other connections that work on it are closed.

        Raises:
            NotFoundError: There is none of this name.
            AccessError: The user may not.
        """
        await self._call(Opcode.DELETE_BUCKET, key=name.encode())

    async def collections(self) -> Collections:
        """Return the scopes and collections of the selected bucket."""
        return parse_collections((await self._call(Opcode.GET_COLLECTIONS_MANIFEST)).value)

    async def set_collections(self, collections: Collections) -> None:
        """Replace the scopes and collections of the selected bucket. What belonged to those that are left out is deleted.

        Raises:
            ServerError: With the status RANGE_ERROR, the uid is not above that of those that are in use: another change came first.
            AccessError: The user may not.
        """
        await self._call(Opcode.SET_COLLECTIONS_MANIFEST, value=collections.to_json())

    async def change_collections(self, change: Callable[[Collections], Collections]) -> Collections:
        """Change the scopes and collections of the selected bucket, and return what they are then.

        If cancelled, they may have been changed all the same.

        Args:
            change: Is given those that there are, and returns what they are to be, with a higher uid. It is called again if another
                change came first.

        Raises:
            ServerError: The server refuses it, or other changes came first again and again.
            Exception: What `change` raises.
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
        """Return the id of a collection of the selected bucket, which is given as ``scope.collection``.

        Raises:
            UnknownCollectionError: There is none.
        """
        try:
            extras = (await self._call(Opcode.GET_COLLECTION_ID, value=path.encode())).extras
        except UnknownCollectionError as exc:
            raise UnknownCollectionError(f"there is no collection {path!r}", exc.status) from None
        if len(extras) != _IDENTITY.size:
            raise ConnectionLostError(f"the server sent {len(extras)} bytes for the id of a collection, not {_IDENTITY.size}")
        _, number = _IDENTITY.unpack(extras)
        return int(number)
