"""Functions that write when nobody reads: they end, and their files are silent."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable

import pytest
import trio

from trio_spool import SpoolBrokenError, SpoolExit, SpoolLimits, SpoolWriter, open_spool
from trio_spool._core.handover._gone import PATIENT

SMALL = SpoolLimits(window=1000, batch=300)


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch):
    """What Python would have printed, because nobody could be told."""
    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: found.append((unraisable.object, unraisable.exc_value)))

    def collected() -> list[object]:
        gc.collect()
        return found

    return collected


async def leave(producer: Callable[[SpoolWriter], object]) -> None:
    """Receive a part of the output and leave."""
    with trio.fail_after(60):
        async with open_spool(producer, limits=SMALL) as batches:
            await batches.receive()


def zip_file(out: SpoolWriter) -> None:
    archive = zipfile.ZipFile(out, "w")
    for number in range(1000):
        archive.writestr(str(number), os.urandom(1000))


def zip_file_in_pieces(out: SpoolWriter) -> None:
    archive = zipfile.ZipFile(out, "w")
    with archive.open("file", "w") as file:
        for _ in range(1000):
            file.write(os.urandom(1000))


def zip_file_in_a_block(out: SpoolWriter) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(1000):
            archive.writestr(str(number), os.urandom(1000))


def tar_file(out: SpoolWriter) -> None:
    archive = tarfile.open(fileobj=out, mode="w|gz")  # noqa: SIM115
    for number in range(1000):
        info = tarfile.TarInfo(str(number))
        info.size = 10_000
        archive.addfile(info, io.BytesIO(os.urandom(10_000)))


def endless(wrap: Callable[[SpoolWriter], io.IOBase]) -> Callable[[SpoolWriter], None]:
    def write(out: SpoolWriter) -> None:
        file = wrap(out)
        while True:
            data = os.urandom(10_000)
            file.write(data.hex() if isinstance(file, io.TextIOBase) else data)

    return write


FILES: dict[str, Callable[[SpoolWriter], None]] = {
    "zip": zip_file,
    "zip in pieces": zip_file_in_pieces,
    "zip in a block": zip_file_in_a_block,
    "tar": tar_file,
    "gzip": endless(lambda out: gzip.GzipFile(fileobj=out, mode="w")),
    "bz2": endless(lambda out: bz2.BZ2File(out, "w")),
    "lzma": endless(lambda out: lzma.LZMAFile(out, "w")),  # noqa: SIM115
    "text": endless(lambda out: out.text()),
    "wrapper": endless(lambda out: io.TextIOWrapper(out)),
    "buffered": endless(lambda out: io.BufferedWriter(out)),
    "wrapper of buffered": endless(lambda out: io.TextIOWrapper(io.BufferedWriter(out))),
}
files = pytest.mark.parametrize("write", FILES.values(), ids=FILES.keys())


@files
async def test_files_that_are_left_behind_are_silent(write, complaints) -> None:
    await leave(write)
    assert complaints() == []


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("buffered", "wrapper", "wrapper of buffered")])
async def test_so_are_those_of_a_function_that_catches_the_error(name: str, complaints) -> None:
    """Not those which are cleaned up without a line of Python, where nothing tells them from the function."""

    def catch(out: SpoolWriter) -> None:
        try:
            FILES[name](out)
        except OSError:
            gc.collect()

    await leave(catch)
    assert complaints() == []


@pytest.mark.parametrize("make", [lambda out: zipfile.ZipFile(out, "w"), lambda out: gzip.GzipFile(fileobj=out, mode="w")])
async def test_and_those_of_a_function_that_fails(make, complaints) -> None:
    def write(out: SpoolWriter) -> None:
        archive = make(out)
        archive.itself = archive  # only the collector will find it
        out.write(b"x")
        raise KeyError

    with pytest.raises(KeyError):
        async with open_spool(write) as batches:
            async for _ in batches:
                pass
    assert complaints() == []


# Functions that do not take no for an answer


async def test_a_loop_that_skips_errors_is_ended() -> None:
    failures = []

    def write(out: SpoolWriter) -> None:
        while True:
            try:
                out.write(b"x" * 100)
            except OSError as exc:
                failures.append(exc)

    await leave(write)
    assert len(failures) == PATIENT
    assert all(type(failure) is SpoolBrokenError for failure in failures)


async def test_so_is_one_that_skips_all_exceptions(complaints) -> None:
    ended_by = []

    def write(out: SpoolWriter) -> None:
        try:
            text = out.text()
            while True:
                try:
                    text.write("x" * 100)
                except Exception:
                    continue
        except BaseException as exc:
            ended_by.append(type(exc))
            raise

    await leave(write)
    assert ended_by == [SpoolExit]
    assert complaints() == []


async def test_an_exit_of_another_spool_is_an_error_here() -> None:
    def write(out: SpoolWriter) -> None:
        raise SpoolExit("some other spool")

    with pytest.raises(SpoolExit, match="some other"):
        async with open_spool(write) as batches:
            await batches.receive()


async def test_late_writes_are_an_error_only_if_something_would_be_lost() -> None:
    kept = []

    def write(out: SpoolWriter) -> None:
        kept.append(out)
        while True:
            out.write(b"x" * 100)

    await leave(write)
    assert kept[0].write(b"late") == 4
    kept[0].flush()
    assert kept[0].closed

    def complete(out: SpoolWriter) -> None:
        kept.append(out)

    async with open_spool(complete) as batches:
        assert [batch async for batch in batches] == []
    with pytest.raises(ValueError, match="its producer function has ended"):
        kept[1].write(b"late")
    with pytest.raises(ValueError, match="closed"):
        kept[1].flush()
