"""scan, dump and load, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.commands import run, run_json
from support.process import command
from trio_spool.cli import _documents
from trio_spool.cli._errors import DocumentError
from trio_spool.client import Document
from trio_spool.engine import Store, open_engine
from trio_spool.testing import Server, running_server

ODD = [
    Store(b"a", b"plain"),
    Store("ü".encode(), 'ß\n"quoted", and\ttabs'.encode(), flags=7),
    Store(b"\xff\x00key", b"\x00\xfe", flags=2**32 - 1, expiry=int(time.time()) + 10**6),
    Store(b"json", b'{"a": 1}', datatype=1),
    Store(b"empty", b""),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("database") / "data"
    with open_engine("lmdb", path, fsync="no", space_of=lambda key: key[:1]) as engine:
        engine.execute([store._replace(key=b"\0" + store.key) for store in ODD])
        engine.execute([Store(b"\0user:%05d" % n, b"value %d" % n) for n in range(5000)])
    return path


@pytest.fixture
def served(database: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copytree(database, tmp_path / "data")
    with running_server(data_dir=tmp_path / "data", fsync="no") as server:
        yield server


def keys_of(output: str) -> list[str]:
    return [json.loads(line)["key"] for line in output.splitlines()]


def test_ranges(served) -> None:
    users = [f"user:{n:05}" for n in range(5000)]
    assert keys_of(run("scan", served.address, "--prefix", "user:")) == users
    assert keys_of(run("scan", served.address, "--start", "user:00010", "--end", "user:00020", "--keys-only")) == users[10:20]
    assert keys_of(run("scan", served.address, "--start", "user:04998", "--end", "v")) == users[4998:]
    assert len(run("scan", served.address).splitlines()) == 5005
    assert run("scan", served.address, "--prefix", "nothing") == ""
    assert run("scan", served.address, "--prefix", os.fsdecode(b"\xff"), "--format", "keys") == "\\xff\\x00key\n"
    assert keys_of(run("scan", served.address, "--prefix", "user:", "--limit", "3")) == users[:3]
    assert run("scan", served.address, "--limit", "0") == ""
    sample = run("scan", served.address, "--sample", "500", "--seed", "3", "--keys-only")
    assert sample == run("scan", served.address, "--sample", "500", "--seed", "3", "--keys-only")
    assert 350 < len(sample.splitlines()) < 650
    assert "give one of them" in run("scan", served.address, "--prefix", "a", "--sample", "3", status=2)


def test_formats(served) -> None:
    assert run("scan", served.address, "--prefix", "user:00001", "--format", "keys") == "user:00001\n"
    (row,) = csv.DictReader(io.StringIO(run("scan", served.address, "--prefix", "ü", "--format", "csv")))
    assert (row["key"], row["value"], row["flags"]) == ("ü", 'ß\n"quoted", and\ttabs', "7")
    (row,) = csv.DictReader(io.StringIO(run("scan", served.address, "--prefix", os.fsdecode(b"\xff"), "--format", "csv")))
    assert (row["key"], row["key_encoding"], row["value"], row["value_encoding"]) == ("/wBrZXk=", "base64", "AP4=", "base64")
    assert run("scan", served.address, "--prefix", "a", "--format", "csv", "--keys-only") == "key,key_encoding\na,utf-8\n"
    (line,) = run("scan", served.address, "--prefix", "json").splitlines()
    document = json.loads(line)
    assert (document["value"], document["datatype"], document["expiry"]) == ('{"a": 1}', 1, 0)


def test_head_ends_it_cleanly_at_both_ends(start) -> None:
    # 20 MB, in few documents: more than the sockets and the pipe on the way take.
    documents = "".join(json.dumps({"key": f"big{n:06}", "value": "v" * 100_000}) + "\n" for n in range(200))
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0") as served:
        run("load", served.address, "-", input=documents)
        with subprocess.Popen(command("scan", served.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(100) == 0
        while open_scans(served.address):  # the server notices by itself
            pass
        assert served.stop() == (0, "")


def open_scans(address: str) -> int:
    return int(run_json("stat", address, "range-scans")["open"])


def test_all_vbuckets(tmp_path) -> None:
    documents = "".join(json.dumps({"key": f"k{n:03}", "value": "v"}) + "\n" for n in range(200))
    with running_server(vbuckets=64) as process:
        run("load", process.address, "-", input=documents)
        every = [f"k{n:03}" for n in range(200)]
        assert keys_of(run("scan", process.address)) == every
        assert keys_of(run("scan", process.address, "--limit", "7")) == every[:7]
        assert len(run("scan", process.address, "--sample", "1000").splitlines()) == 200
        assert "dumped 200 documents" in run("dump", process.address, tmp_path / "file")
        assert keys_of((tmp_path / "file").read_text()) == every


def test_dump_to_standard_output(served, tmp_path) -> None:
    done = subprocess.run(command("dump", served.address, "-"), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (run("scan", served.address), "dumped 5005 documents\n")


def test_dump_into_a_fifo(served, tmp_path) -> None:
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    assert "dumped 5005 documents" in run("dump", served.address, fifo)
    reader.join(30)
    assert read == [run("scan", served.address)]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_dump_through_a_symbolic_link(served, tmp_path, exists: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    link.symlink_to("elsewhere/target")
    run("dump", served.address, link)
    assert link.readlink() == Path("elsewhere/target")
    assert target.read_text() == run("scan", served.address)
    assert os.listdir(target.parent) == ["target"]


def test_dump_where_nothing_can_be_written(served, tmp_path) -> None:
    file, loop, socket_ = tmp_path / "file", tmp_path / "loop", tmp_path / "socket"
    file.write_text("old")
    loop.symlink_to(loop)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_))
    (tmp_path / "taken.partial").mkdir()
    for wrong, message in [
        (file / "x", "not a directory"),
        (loop, "too many levels of symbolic links"),
        (socket_, "no such device or address"),
        (tmp_path / "taken", "taken.partial: is a directory"),
    ]:
        output = run("dump", served.address, wrong, status=1)
        assert output.startswith(f"Error: can't write {wrong}")
        assert message in output and "; choose another FILE" in output
    run("dump", "127.0.0.1:1", file, status=1)
    assert file.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["data", "file", "loop", "socket", "taken.partial"]


def test_dump_and_load_lose_nothing(served, tmp_path) -> None:
    dumped, again = tmp_path / "dump.ndjson", tmp_path / "again.ndjson"
    assert "dumped 5005 documents" in run("dump", served.address, dumped)
    with running_server(data_dir=tmp_path / "other", fsync="no") as other:
        assert run_json("load", other.address, dumped) == {"stored": 5005}
        run("dump", other.address, again)
        assert run("dump", other.address, "--prefix", "a") == run("scan", other.address, "--prefix", "a")

    def loaded(path) -> list[dict]:
        documents = [json.loads(line) for line in path.read_text().splitlines()]
        return [{name: value for name, value in document.items() if name not in ("cas", "seqno")} for document in documents]

    assert loaded(again) == loaded(dumped)
    stored = {document["key"]: document for document in loaded(dumped) if "key" in document}
    assert stored["ü"]["flags"] == 7
    (binary,) = (document for document in loaded(dumped) if "key_base64" in document)
    assert (binary["key_base64"], binary["value_base64"], binary["flags"]) == ("/wBrZXk=", "AP4=", 2**32 - 1)
    assert binary["expiry"] == ODD[2].expiry


def test_a_dump_that_fails_leaves_no_file(served, tmp_path) -> None:
    assert "connect" in run("dump", "127.0.0.1:1", tmp_path / "dump", status=1)
    assert "no such file" in run("dump", served.address, tmp_path / "none" / "dump", status=1)
    assert list(tmp_path.glob("dump*")) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        (
            '{"id": 1, "name": "x"}',
            "the fields are id, name; if trio-spool dump did not write this file, name the field of the key with --key",
        ),
        ('{"key": "k"}', "'value'"),
        ('{"key": "k", "value": 7}', "'value'"),
        ('{"key": "k", "value": "v", "value_base64": ""}', "'value'"),
        ('{"key": "", "value": "v"}', "1 to 250 bytes"),
        ('{"key": "\\ud800", "value": "v"}', "surrogate"),
        ('{"key_base64": "!", "value": "v"}', "'key_base64' is not valid base64"),
        ('{"key": "k", "value": "v", "flags": -1}', "'flags' must be a number"),
        ('{"key": "k", "value": "v", "expiry": "soon"}', "'expiry' must be a number"),
    ],
)
def test_lines_that_are_no_documents(served, line: str, message: str) -> None:
    output = run("load", served.address, "-", input='{"key": "first", "value": ""}\n' + line + "\n", status=1)
    assert "standard input, line 2: " in output and message in output
    assert len(output.splitlines()) == 1


def test_load_of_files_that_are_not_text(served, tmp_path) -> None:
    file = tmp_path / "file.ndjson"
    file.write_bytes(b"\xff\xfe")
    assert "is not valid UTF-8" in run("load", served.address, file, status=1)
    assert "does not exist" in run("load", served.address, tmp_path / "file.csv", status=2)
    (tmp_path / "file.csv").write_text("a,b\n")
    assert "needs --key" in run("load", served.address, tmp_path / "file.csv", status=2)
    (tmp_path / "file.csv").write_bytes(b'name,text\r\nx,"two\r\nlines"\r\n')
    run("load", served.address, tmp_path / "file.csv", "--key", "name")
    assert json.loads(run_json("get", served.address, "x")["value"])["text"] == "two\r\nlines"


def test_keys_need_not_be_text(served) -> None:
    key = os.fsdecode(b"\xfe\xff")
    assert run_json("set", served.address, key, os.fsdecode(b"\xfd"))["key_base64"] == "/v8="
    assert "\\xfe\\xff" in run("get", served.address, key, "--long")
    described = run_json("get", served.address, key)
    assert (described["key_base64"], described["value_base64"]) == ("/v8=", "/Q==")
    assert "key" not in described
    assert run_json("delete", served.address, key) == {"key_base64": "/v8=", "deleted": True}


u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@given(
    st.builds(
        Document,
        key=st.binary(min_size=1, max_size=250),
        value=st.binary(max_size=100) | st.text(max_size=50).map(str.encode),
        flags=u32,
        expiry=u32,
        datatype=st.integers(0, 255),
        cas=u64,
        seqno=u64,
    )
)
def test_any_document_survives_as_a_line(document: Document) -> None:
    line = _documents.to_json(document, keys_only=False)
    assert line.count("\n") == 1 and len(line.splitlines()) >= 1
    assert _documents.from_json(line) == _documents.Item(
        document.key, document.value, document.flags, document.expiry, document.datatype
    )


@given(
    st.text(max_size=60)
    | st.dictionaries(st.sampled_from(["key", "value", "key_base64", "flags"]), st.none() | st.text()).map(json.dumps)
)
def test_any_line_is_a_document_or_refused(line: str) -> None:
    try:
        _documents.from_json(line)
    except DocumentError as exc:
        assert str(exc)
