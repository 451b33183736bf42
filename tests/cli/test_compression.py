"""Compressed files of documents."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from support.commands import one_line, run
from trio_spool.cli import main
from trio_spool.cli._compression import inner_suffix, packed, unpack
from trio_spool.cli._errors import FileError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {".gz": gzip.compress, ".zst": zstd.compress}
DECOMPRESS = {".gz": gzip.decompress, ".zst": zstd.decompress, "": bytes}
LINES = "".join(json.dumps({"key": f"k{number}", "value": "v" * number}) + "\n" for number in range(300)).encode()


@pytest.fixture(params=COMPRESS)
def suffix(request: Any) -> str:
    return str(request.param)


def test_there_and_back(server, tmp_path, suffix: str) -> None:
    here, file = server.address, tmp_path / f"all.ndjson{suffix}"
    (tmp_path / "lines").write_bytes(LINES)
    run("load", here, tmp_path / "lines")
    assert run("dump", here, file) == "dumped 300 documents\n"
    assert set(os.listdir(tmp_path)) == {"lines", file.name}
    plain = run("dump", here)
    assert DECOMPRESS[suffix](file.read_bytes()).decode() == plain
    run("flush", here)
    assert run("load", here, file) == "stored 300 documents\n"
    assert [json.loads(line)["key"] for line in run("dump", here).splitlines()] == [
        json.loads(line)["key"] for line in plain.splitlines()
    ]


def test_other_tools_read_it(server, tmp_path) -> None:
    run("set", server.address, "k", "v")
    run("dump", server.address, tmp_path / "x.gz")
    assert b'"value": "v"' in subprocess.run(["gzip", "-dc", tmp_path / "x.gz"], capture_output=True, check=True).stdout


def test_parts_in_a_row_and_any_name(server, tmp_path, suffix: str) -> None:
    lines = LINES.splitlines(keepends=True)
    data = b"".join(COMPRESS[suffix](b"".join(lines[at : at + 100])) for at in range(0, 300, 100))
    for name in (f"x{suffix}", f"X{suffix.upper()}", "x.ndjson", "x"):
        (tmp_path / name).write_bytes(data)
        assert run("load", server.address, tmp_path / name) == "stored 300 documents\n"
    assert run("load", server.address, "-", input=data) == "stored 300 documents\n"


def test_csv(server, tmp_path, suffix: str) -> None:
    file = tmp_path / f"people.csv{suffix}"
    file.write_bytes(COMPRESS[suffix](b"name,age\nann,5\n"))
    assert "a CSV file needs --key" in run("load", server.address, file, status=2)
    assert run("load", server.address, file, "--key", "name") == "stored 1 documents\n"
    assert json.loads(run("get", server.address, "ann")) == {"name": "ann", "age": "5"}


def test_plain_text_of_such_a_name(server, tmp_path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(LINES)
    assert run("load", server.address, tmp_path / f"x{suffix}") == "stored 300 documents\n"


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.05])
def test_a_file_that_is_cut_off(server, tmp_path, suffix: str, keep: float) -> None:
    data = COMPRESS[suffix](LINES)
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data[: int(len(data) * keep)])
    message = one_line("load", server.address, file)
    assert f"{file} is cut off: its " in message
    assert "get the whole file" in message


def test_a_file_without_its_last_byte(tmp_path, suffix: str) -> None:
    with pytest.raises(FileError, match="cut off"):
        unpack(io.BufferedReader(io.BytesIO(COMPRESS[suffix](LINES)[:-1])), "x", suffix).read()


def test_an_empty_file(server, tmp_path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    file.touch()
    assert "is empty, which is not" in one_line("load", server.address, file)


def test_any_damage_is_one_line(tmp_path, suffix: str) -> None:
    data = COMPRESS[suffix](LINES)
    outcomes = set()
    for at in range(4, len(data), 3):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        try:
            outcomes.add(unpack(io.BufferedReader(io.BytesIO(damaged)), "x", suffix).read() == LINES)
        except FileError as exc:
            assert "\n" not in exc.message
            outcomes.add("refused")
    assert "refused" in outcomes


def test_garbage_behind(tmp_path, suffix: str) -> None:
    with pytest.raises(FileError, match=r"x is damaged: its (gzip|zstd) data can't be read"):
        unpack(io.BufferedReader(io.BytesIO(COMPRESS[suffix](LINES) + b"garbage")), "x", suffix).read()


def test_a_window_that_is_too_large_is_refused() -> None:
    """A frame may ask for gigabytes of memory."""
    options = {zstd.CompressionParameter.window_log: 30, zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(LINES) + compressor.flush()
    with pytest.raises(FileError, match="is damaged"):
        unpack(io.BufferedReader(io.BytesIO(data)), "x", ".zst").read()


def test_memory_is_bounded(suffix: str) -> None:
    """A hundred megabytes of zeros are read in pieces: what is compressed is a few kilobytes."""
    data = COMPRESS[suffix](bytes(100_000_000))
    file = unpack(io.BufferedReader(io.BytesIO(data)), "x", suffix)
    assert len(file.read1(65536)) <= 65536
    total = 0
    while piece := file.read1(65536):
        total += len(piece)
    assert total > 99_000_000


def test_an_interrupted_dump_has_no_end(suffix: str) -> None:
    out = io.BytesIO()
    with pytest.raises(ZeroDivisionError), packed(out, suffix) as file:  # type: ignore[arg-type]
        file.write(LINES)
        raise ZeroDivisionError
    del file
    if out.getvalue():
        with pytest.raises(FileError, match="cut off"):
            unpack(io.BufferedReader(io.BytesIO(out.getvalue())), "x", suffix).read()


def test_a_fifo(server, tmp_path, suffix: str) -> None:
    run("set", server.address, "k", "v")
    fifo = tmp_path / f"x{suffix}"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    run("dump", server.address, fifo)
    reader.join()
    assert b'"value": "v"' in DECOMPRESS[suffix](read[0])


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.csv", ".csv"), ("a.CSV.GZ", ".csv"), ("a.csv.zst", ".csv"), ("a.gz", ""), ("a.csv.txt", ".txt"), ("-", "")],
)
def test_what_is_inside(name: str, suffix: str) -> None:
    assert inner_suffix(Path(name)) == suffix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"key": "a", "value": "b"}]', "line 1: not a JSON object but an array; NDJSON has one document a line"),
        ('[\n  {"key": "a"}\n]', "line 1: not a JSON object but an array; NDJSON has one document a line, and this makes it of other JSON: jq -c '.[]' FILE"),
        ('{\n  "key": "a"\n}', "line 1: not valid JSON: it ends within a document; NDJSON has one document a line"),
        ('\n{"key": "a", "value": "b"}\n{"key": "a", "val', "line 3: not valid JSON: it ends within a document"),
        ('{"key": "a", "value": "b"} {"key": "c", "value": "b"}', "line 1: more than one document; NDJSON has one document a line"),
        ('{"key": "a", "value": b}', "line 1: not valid JSON: Expecting value at character 23"),
        ("5", "line 1: not a JSON object"),
    ],
)  # fmt: skip
def test_what_is_not_ndjson(server, tmp_path, content: str, message: str) -> None:
    (tmp_path / "x").write_text(content)
    assert f"{tmp_path}/x, {message}" in one_line("load", server.address, tmp_path / "x")


def test_standard_input_stays_open(server) -> None:
    result = CliRunner().invoke(main, ["load", server.address, "-"], input=b"")
    assert (result.exit_code, result.output) == (0, "stored 0 documents\n")


def test_no_damaged_byte_goes_unseen(tmp_path, suffix: str) -> None:
    data = bytes(range(256)) * 2
    with io.FileIO(tmp_path / "x", "wb") as out, packed(out, suffix) as into:
        into.write(data)
    good = (tmp_path / "x").read_bytes()
    assert unpack(io.BufferedReader(io.BytesIO(good)), "x", suffix).read() == data
    for place in range(20, len(good)):
        damaged = good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :]
        with pytest.raises(FileError, match=r"damaged|cut off"):
            unpack(io.BufferedReader(io.BytesIO(damaged)), "x", suffix).read()


def test_each_beginning_of_a_file_is_cut_off(suffix: str) -> None:
    good = COMPRESS[suffix](LINES)
    for size in range(1, len(good)):
        with pytest.raises(FileError, match="x is cut off"):
            unpack(io.BufferedReader(io.BytesIO(good[:size])), "x", suffix).read()
