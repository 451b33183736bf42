"""Binary files as producers: read in pieces, as the bytes come."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
import trio

from support.spools import collect
from trio_spool import SpoolLimits, open_spool
from trio_spool._core.producers._turns import PIECE, FilePieces

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes, with newlines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def opened(kind: str, path: Path):
    if kind == "buffered":
        return path.open("rb")
    if kind == "raw":
        return path.open("rb", buffering=0)
    if kind == "memory":
        return io.BytesIO(CONTENT)
    if kind == "gzip":
        path.write_bytes(gzip.compress(CONTENT))
        return gzip.open(path)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("content", CONTENT)
        return zipfile.ZipFile(path).open("content")
    if kind == "temporary":
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115
        file.write(CONTENT)
        file.seek(0)
        return file
    if kind == "map":
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return subprocess.Popen([sys.executable, "-c", f"print(open({str(path)!r}, 'rb').read().hex())"], stdout=subprocess.PIPE)


@pytest.mark.parametrize("kind", ["buffered", "raw", "memory", "gzip", "zip", "temporary", "map"])
async def test_a_file_is_read_in_pieces_and_closed(kind: str, path: Path) -> None:
    file = opened(kind, path)
    spool = open_spool(file)
    async with spool as batches:
        assert b"".join([batch async for batch in batches]) == CONTENT
    assert spool.statistics().fragments < 100  # there are 2,000 lines
    assert file.closed


@pytest.mark.parametrize("kind", ["buffered", "raw", "memory"])
async def test_no_piece_is_larger_than_a_piece(kind: str, path: Path) -> None:
    """A line may be as long as the file."""
    path.write_bytes(bytes(10 * PIECE))
    file = path.open("rb", buffering=-1 if kind == "buffered" else 0) if kind != "memory" else io.BytesIO(bytes(10 * PIECE))
    pieces = FilePieces(file)
    assert {len(piece) for piece in pieces} == {PIECE}
    pieces.close()


async def test_the_output_of_a_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print('x' * 1_000_000)"], stdout=subprocess.PIPE)
    with child:
        assert await collect(child.stdout) == b"x" * 1_000_000 + os.linesep.encode()
    assert child.returncode == 0


@pytest.mark.parametrize("kind", ["buffered pipe", "raw pipe", "socket"])
async def test_what_has_come_does_not_wait_for_more(kind: str) -> None:
    if kind == "socket":
        ours, theirs = socket.socketpair()
        reader = ours.makefile("rb")
        ours.close()
        write, close = theirs.sendall, theirs.close
    else:
        read_end, write_end = os.pipe()
        reader = os.fdopen(read_end, "rb", buffering=-1 if kind == "buffered pipe" else 0)
        write, close = lambda data: os.write(write_end, data), lambda: os.close(write_end)
    with trio.fail_after(60):
        async with open_spool(reader) as batches:
            write(b"no newline")
            assert await batches.receive() == b"no newline"
            write(b"more")
            assert await batches.receive() == b"more"
            close()
            assert [batch async for batch in batches] == []


async def test_a_file_that_never_had_a_turn_is_closed(path: Path) -> None:
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()
    file = path.open("rb")
    async with open_spool(file, limiter=limiter):
        await trio.testing.wait_all_tasks_blocked()
    assert file.closed


async def test_a_file_left_early_is_closed_in_a_worker(path: Path) -> None:
    closed_in = []

    class File(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                closed_in.append(threading.current_thread())
            super().close()

    async with open_spool(File(path), limits=SpoolLimits(window=1000, batch=300)) as batches:
        await batches.receive()
    assert len(closed_in) == 1
    assert closed_in[0] is not threading.main_thread()


async def test_a_buffered_file_without_read1() -> None:
    class Letters(io.BufferedIOBase):
        rest = b"abc"

        def readable(self) -> bool:
            return True

        def read(self, size: int | None = -1, /) -> bytes:
            one, self.rest = self.rest[:1], self.rest[1:]
            return one

    assert await collect(Letters()) == b"abc"


async def test_a_file_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(io.UnsupportedOperation):
        await collect(path.open("ab"))
    file = path.open("rb")
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        await collect(file)


async def test_a_file_that_would_not_block() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with pytest.raises(BlockingIOError, match="blocking mode"):
        await collect(os.fdopen(read_end, "rb", buffering=0))
    os.close(write_end)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "text").open("w+") as file, pytest.raises(TypeError, match=r"open for text.*binary mode"):
        open_spool(file)
    with tempfile.NamedTemporaryFile("w+") as file, pytest.raises(TypeError, match="open for text"):
        open_spool(file)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="open for text"):
        open_spool(io.StringIO("text"))
