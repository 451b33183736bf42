"""Conversations in the text protocol."""

from __future__ import annotations

from support.service import Served


async def talk(service: Served, *sent: bytes) -> bytes:
    """Send some requests and ``quit``, and return everything that comes back."""
    async with service.connect() as raw:
        for piece in sent:
            await raw.send(piece)
        await raw.send(b"quit\r\n")
        return await raw.rest()
