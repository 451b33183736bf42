"""Keys in collections: requests carry the id of the collection before the key, once that is negotiated."""

from __future__ import annotations

from ..client import Client, ServerError
from ..mcbp import Feature, encode_leb128
from ._common import FEATURES
from ._errors import ConnectionFailedError


async def negotiate_collections(client: Client) -> bool:
    """Negotiate that the keys of all requests are prefixed, and return whether the server does that."""
    try:
        await client.hello("trio-spool", (*FEATURES, Feature.COLLECTIONS))
    except ServerError:
        return False
    return Feature.COLLECTIONS in client.features


async def prefix_of(client: Client, path: str) -> bytes:
    """Return the prefix of the keys of a collection of the selected bucket.

    Raises:
        UnknownCollectionError: There is no such collection.
    """
    return encode_leb128(await client.collection_id(path))


async def request_prefix(client: Client, collection: str | None) -> bytes:
    """Return what stands before the keys of a collection in requests, and negotiate what that takes.

    Args:
        client: The client.
        collection: The collection, as ``scope.collection``; None for the default one, which takes nothing.

    Raises:
        UnknownCollectionError: There is no such collection.
        ConnectionFailedError: The server has no collections.
    """
    if collection is None:
        return b""
    if not await negotiate_collections(client):
        raise ConnectionFailedError("this server has no collections; leave --collection out")
    return await prefix_of(client, collection)
