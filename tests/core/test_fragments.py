"""What may be emitted and sent, and how often it is copied."""

from __future__ import annotations

import array
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import memory_stream_pair

from support.spools import collect
from trio_spool import SpoolWriter, open_sender, open_spool
from trio_spool._core.handover._fragments import as_bytes

LARGE = 4 * 1024 * 1024


async def emitted(data: Any) -> bytes:
    return await collect([data])


async def emitted_after_many(data: Any) -> bytes:
    """Small fragments are written in runs."""
    return (await collect([b"x"] * 100 + [data]))[100:]


async def written(data: Any) -> bytes:
    return await collect(lambda out: out.write(data))


async def sent(data: Any) -> bytes:
    left, right = memory_stream_pair()
    async with open_sender(left) as sender:
        await sender.send(data)
        await sender.drain()
    await left.aclose()
    return b"".join([chunk async for chunk in right])


async def sent_at_once(data: Any) -> bytes:
    left, right = memory_stream_pair()
    async with open_sender(left) as sender:
        sender.send_nowait(data)
    await left.aclose()
    return b"".join([chunk async for chunk in right])


ways = pytest.mark.parametrize("way", [emitted, emitted_after_many, written, sent, sent_at_once])


@ways
@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abc"),
        memoryview(b"abc")[1:],
        memoryview(b"abcd").cast("B", (2, 2)),
        array.array("Q", range(9)),
        array.array("Q"),
    ],
)
async def test_everything_bytes_like(way: Callable[[Any], Any], data: Any) -> None:
    assert await way(data) == bytes(data)


@ways
@pytest.mark.parametrize("size", [10, 100_000])
async def test_memory_that_is_not_contiguous_is_refused_with_one_sentence(way: Callable[[Any], Any], size: int) -> None:
    with pytest.raises(TypeError, match=r"^(fragment \d+ of a producer|data to send): its memory is not contiguous; make it so"):
        await way(memoryview(bytes(size))[::2])


@ways
@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
async def test_what_is_not_bytes_like(way: Callable[[Any], Any], data: Any) -> None:
    problem = "a str, not bytes" if data == "text" else f".* not '{type(data).__name__}'"
    with pytest.raises(TypeError, match=rf"^(fragment \d+ of a producer|data to send): {problem}"):
        await way(data)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_a_large_one_is_copied_once(kind: Callable[[bytes], Any]) -> None:
    data = kind(bytes(LARGE))

    def write(out: SpoolWriter) -> None:
        out.write(data)

    for producer in ([data], write):
        tracemalloc.start()
        try:
            async with open_spool(producer) as batches:  # type: ignore[arg-type]
                assert sum([len(batch) async for batch in batches]) == LARGE
            assert LARGE < tracemalloc.get_traced_memory()[1] < 1.5 * LARGE
        finally:
            tracemalloc.stop()


def test_bytes_like_means_no_number() -> None:
    with pytest.raises(TypeError, match="data to send"):
        as_bytes(5)
