"""Buckets that a server does not list, so that a dump or a backup of all buckets lacks them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..client import Client, ServerError

# Buckets that are looked at, which bounds what a hostile server can send, and the length of a name or a reason. Picked.
MAX_ROWS: Final = 10_000
_SHOWN: Final = 200


async def unlisted(client: Client, listed: Collection[str]) -> list[str]:
    """Return a sentence about each bucket that exists, as far as this user may know, and is not listed.

    Args:
        client: The client, which has selected a bucket.
        listed: The names that the server lists.
    """
    found: dict[str, str] = {}
    rows = 0
    try:
        async with client.stat("buckets") as statistics:  # of all buckets, also those that can't be used; not everybody may see it
            async for name, value in statistics:
                text = name[:_SHOWN].decode("utf-8", "replace")
                if text not in listed:
                    found[text] = f"the bucket {text!r}: {value[:_SHOWN].decode('utf-8', 'replace')}"
                rows += 1
                if rows > MAX_ROWS:
                    found[""] = f"further buckets: the server names more than {MAX_ROWS}"
                    break
    except ServerError:
        return ["buckets that this user may not use, if there are any: the server does not name them"]
    return list(found.values())
