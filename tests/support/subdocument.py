"""Sub-document commands by the frame, and a service with each engine to send them to."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.service import Raw, Served, run_service
from trio_spool.mcbp import Opcode, encode_request

BOTH_ENGINES = ("memory", "lmdb")


@asynccontextmanager
async def run_with(engine: str, directory: Path) -> AsyncIterator[Served]:
    """Run a service with an engine, whose items may have 200,000 bytes."""
    data_dir = {"data_dir": directory / "data"} if engine == "lmdb" else {}
    async with run_service(engine=engine, fsync="no", max_item_size=200_000, **data_dir) as served:
        yield served


async def put(raw: Raw, value: bytes, key: bytes = b"k") -> int:
    """Store a document, and return its CAS."""
    reply = await raw.call(Opcode.SET, key=key, value=value, extras=bytes(8))
    assert reply.status == 0
    return reply.cas


async def call(raw: Raw, frame: bytes) -> Any:
    """Send one request, and return its reply."""
    await raw.send(frame)
    return await raw.receive()


def single(
    opcode: int, path: bytes, value: bytes = b"", flags: int = 0, more: bytes = b"", key: bytes = b"k", **kwargs: Any
) -> bytes:
    """Encode a command with one path."""
    extras = struct.pack(">HB", len(path), flags) + more
    return encode_request(opcode, key=key, extras=extras, value=path + value, **kwargs)


def lookups(*paths: tuple[Any, ...], key: bytes = b"k", **kwargs: Any) -> bytes:
    """Encode a lookup of opcodes, paths, and perhaps flags."""
    value = b"".join(struct.pack(">BBH", opcode, sum(flags), len(path)) + path for opcode, path, *flags in paths)
    return encode_request(Opcode.SUBDOC_MULTI_LOOKUP, key=key, value=value, **kwargs)


def mutations(*paths: tuple[Any, ...], key: bytes = b"k", **kwargs: Any) -> bytes:
    """Encode mutations of opcodes, paths, values, and perhaps flags."""
    value = b""
    for opcode, path, new, *flags in paths:
        value += struct.pack(">BBHL", opcode, sum(flags), len(path), len(new)) + path + new
    return encode_request(Opcode.SUBDOC_MULTI_MUTATION, key=key, value=value, **kwargs)


def found(reply: Any) -> list[tuple[int, bytes]]:
    """Decode what several lookups found."""
    results, value = [], reply.value
    while value:
        status, size = struct.unpack_from(">HL", value)
        results.append((status, value[6 : 6 + size]))
        value = value[6 + size :]
    return results
