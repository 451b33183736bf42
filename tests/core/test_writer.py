"""SpoolWriter: a real binary file for whatever writes to one."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import shutil
import tarfile
import zipfile

import pytest

from support.spools import collect
from trio_spool import SpoolBrokenError, SpoolLimits, SpoolWriter

SMALL = SpoolLimits(window=1000, batch=300)


async def test_csv_through_a_text_wrapper() -> None:
    rows = [[str(number), "ü" * (number % 5)] for number in range(500)]

    def write(out: SpoolWriter) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
        csv.writer(text).writerows(rows)
        text.flush()
        text.detach()

    data = await collect(write, limits=SMALL)
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == rows


async def test_tarfile() -> None:
    def write(out: SpoolWriter) -> None:
        with tarfile.open(fileobj=out, mode="w|") as tar:
            for number in range(10):
                info = tarfile.TarInfo(f"file{number}")
                info.size = 1000 * number
                tar.addfile(info, io.BytesIO(b"%d" % number * info.size))

    data = await collect(write, limits=SMALL)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [member.size for member in tar] == [1000 * number for number in range(10)]


async def test_gzip() -> None:
    content = bytes(range(256)) * 500

    def write(out: SpoolWriter) -> None:
        with gzip.GzipFile(fileobj=out, mode="wb") as file:
            file.write(content)

    assert gzip.decompress(await collect(write, limits=SMALL)) == content


async def test_zipfile() -> None:
    def write(out: SpoolWriter) -> None:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(5):
                archive.writestr(f"file{number}", b"content" * number)

    with zipfile.ZipFile(io.BytesIO(await collect(write, limits=SMALL))) as archive:
        assert archive.testzip() is None
        assert archive.read("file4") == b"content" * 4


async def test_copyfileobj() -> None:
    content = bytes(range(256)) * 1000
    assert await collect(lambda out: shutil.copyfileobj(io.BytesIO(content), out), limits=SMALL) == content


async def test_pickle() -> None:
    content = {"list": list(range(10_000)), "bytes": b"x" * 100_000}
    assert pickle.loads(await collect(lambda out: pickle.dump(content, out), limits=SMALL)) == content


async def test_writer_is_a_raw_file() -> None:
    kept = []

    def write(out: SpoolWriter) -> None:
        kept.append(out)
        assert isinstance(out, io.RawIOBase)
        assert out.writable() and not out.readable() and not out.seekable()
        assert out.write(b"") == 0
        with pytest.raises(OSError):
            out.fileno()
        out.writelines([b"a", b"b"])

    assert await collect(write) == b"ab"
    with pytest.raises(ValueError, match="closed"):
        kept[0].write(b"late")


async def test_writing_what_is_not_bytes() -> None:
    with pytest.raises(TypeError, match="str"):
        await collect(lambda out: out.write("text"))


async def test_a_broken_spool_of_another_is_an_error_here() -> None:
    def write(out: SpoolWriter) -> None:
        raise SpoolBrokenError("some other spool")

    with pytest.raises(SpoolBrokenError, match="some other"):
        await collect(write)
