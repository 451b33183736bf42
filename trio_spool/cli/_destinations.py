"""Where the documents of a file are stored: the buckets and collections that its lines say, or those that options say."""

from __future__ import annotations

from collections.abc import Callable

from ..client import AccessError, Client, ExistsError, UnknownCollectionError
from ._documents import Item
from ._errors import ConnectionFailedError, FileError
from ._keyspace import negotiate_collections, prefix_of
from ._places import DEFAULT_BUCKET, DEFAULT_COLLECTION, Declaration, Place


class Destinations:
    """Selects, and makes, the places that documents go to.

    Args:
        client: The client, which works on `bucket`.
        bucket: The bucket of all documents, whatever their lines say; None for what they say, or the default one.
        collection: The collection of all documents, likewise. It is in `bucket`, or in the default one.
        note: Called with a sentence about anything that was made, or is not as the file says.
        has_collections: Whether the server may be asked for collections.
    """

    def __init__(
        self,
        client: Client,
        bucket: str | None,
        collection: str | None,
        note: Callable[[str], object],
        *,
        has_collections: bool = True,
    ) -> None:
        self._client = client
        self._bucket = bucket or (None if collection is None else DEFAULT_BUCKET)
        self._collection = collection
        self._note = note
        self._selected = bucket or DEFAULT_BUCKET
        self._has_collections = has_collections
        self._negotiated = None if has_collections else False  # whether keys are prefixed; None before that is known
        self._prefixes: dict[Place, bytes] = {}
        self._first: Place | None = None  # what the first document says

    async def key_of(self, item: Item) -> bytes:
        """Select the bucket of an item, and return its key as requests carry it.

        Raises:
            FileError: It can't go where the options say.
            ConnectionFailedError: Its bucket or collection does not exist, and can't be made.
        """
        if self._negotiated is None:
            self._negotiated = await negotiate_collections(self._client)
        self._check_origin(item.place)
        place = Place(
            self._bucket or item.place.bucket or DEFAULT_BUCKET, self._collection or item.place.collection or DEFAULT_COLLECTION
        )
        if place.bucket != self._selected:
            if not self._has_collections:
                raise ConnectionFailedError(f"memcached has no buckets, and {item.key!r:.100} is of {place.bucket!r}")
            await self._select(place.bucket)
        if not self._negotiated:
            if place.collection != DEFAULT_COLLECTION:
                raise ConnectionFailedError(f"this server has no collections, and {item.key!r:.100} is of {place.collection!r}")
            return item.key
        if place not in self._prefixes:
            self._prefixes[place] = await self._prefix(place)
        return self._prefixes[place] + item.key

    def _check_origin(self, said: Place) -> None:
        """Refuse to mix documents of several places in one, where one could replace another of the same key."""
        first = self._first = self._first or said
        if self._collection is not None and said != first:
            raise FileError(
                f"--collection would mix documents of {_shown(first)} with those of {_shown(said)}, which may have the same keys; "
                "leave it out, or dump one collection"
            )
        if self._bucket is not None and said.bucket != first.bucket:
            raise FileError(
                f"--bucket would mix documents of {_shown(first)} with those of {_shown(said)}, which may have the same keys; "
                "leave it out, or dump one bucket"
            )

    async def declare(self, declared: Declaration) -> None:
        """Make a collection, and its bucket, unless an option says that all documents go to another one.

        Raises:
            ConnectionFailedError: It does not exist, and can't be made.
        """
        if self._collection is not None:
            return
        if self._negotiated is None:
            self._negotiated = await negotiate_collections(self._client)
        if not self._negotiated:
            return  # there is nothing to make; a document of another collection is refused
        place = Place(self._bucket or declared.place.bucket, declared.place.collection)
        if place.bucket != self._selected:
            await self._select(place.bucket)
        found = (await self._client.collections()).find(place.collection)
        if found is None:
            await self._make(place, declared.max_ttl)
        elif found.max_ttl != declared.max_ttl:
            self._note(f"{place} exists: its maximum TTL stays {found.max_ttl}, and is not {declared.max_ttl}, as the file says")

    async def _select(self, name: str) -> None:
        try:
            await self._client.select_bucket(name)
        except AccessError as exc:
            await self._make_bucket(name, exc)
            await self._client.select_bucket(name)
        self._selected = name

    async def _make_bucket(self, name: str, why: AccessError) -> None:
        try:
            await self._client.create_bucket(name)
        except (AccessError, ExistsError):
            raise ConnectionFailedError(f"{why}, and may not make it; create it, or choose another one with --bucket") from None
        self._note(f"created the bucket {name!r}")

    async def _prefix(self, place: Place) -> bytes:
        try:
            return await prefix_of(self._client, place.collection)
        except UnknownCollectionError:
            if self._collection is not None:
                raise
        await self._make(place, 0)
        return await prefix_of(self._client, place.collection)

    async def _make(self, place: Place, max_ttl: int) -> None:
        try:
            await self._client.change_collections(lambda old: old.with_collection(place.collection, max_ttl))
        except ExistsError:
            return  # somebody else has made it at the same moment
        except AccessError:
            raise ConnectionFailedError(
                f"{place} does not exist, and this user may not make it; create it, or choose another one with --collection"
            ) from None
        self._note(f"created {place}")


def _shown(place: Place) -> str:
    return f"{place.collection or 'no collection that is named'} of the bucket {place.bucket}" if place.bucket else "no named place"
