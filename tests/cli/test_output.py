"""Writing what commands print."""

from __future__ import annotations

import io
import os
import threading

from trio_spool.cli._output import CHUNK, Lines, write_in_thread


class Trickle(io.RawIOBase):
    """Takes a few bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.taken += bytes(data[:7])
        return min(len(data), 7)


async def test_lines_are_written_in_chunks() -> None:
    out = io.BytesIO()
    lines = Lines(out)
    half = "x" * (CHUNK // 2 - 1) + "\n"
    await lines.add(half)
    assert out.getvalue() == b""
    for _ in range(9):
        await lines.add(half)
        assert 10 * CHUNK // 2 - len(out.getvalue()) >= 0
    assert len(out.getvalue()) == 5 * CHUNK
    await lines.add("last\n")
    await lines.write()
    assert out.getvalue() == (half * 10 + "last\n").encode()


def test_all_is_written_whatever_is_taken_at_once() -> None:
    out = Trickle()
    write_in_thread(out, bytes(range(100)))
    assert out.taken == bytes(range(100))


def test_a_pipe_that_somebody_made_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = os.urandom(1 << 20)
    received: list[bytes] = []
    with open(reading, "rb") as source:
        reader = threading.Thread(target=lambda: received.append(source.read()))
        with open(writing, "wb", buffering=0) as out:
            reader.start()
            write_in_thread(out, data)
        reader.join()
    assert received == [data]
