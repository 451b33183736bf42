"""Receiving everything that a spool gives."""

from __future__ import annotations

from typing import Any

from trio_spool import Producer, open_spool


async def collect(producer: Producer, **kwargs: Any) -> bytes:
    async with open_spool(producer, **kwargs) as batches:
        return b"".join([batch async for batch in batches])
