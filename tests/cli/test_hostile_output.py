"""What a server said is shown, and never obeyed by a terminal."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

import pytest

from support.commands import one_line, run, run_json, run_rows
from support.hostile import playing
from trio_spool.mcbp import (
    DOCUMENTS_EXTRAS,
    Opcode,
    Status,
    encode_leb128,
    encode_response,
    pack_documents,
)

# A title for the window, a cleared screen, another line, a reversed one, and a C1 control character.
ESCAPES = "\x1b]0;title\x07\x1b[2J\r\n\u202ex\u2028\x9b31m\x7f"
SHOWN = r"\x1b]0;title\x07\x1b[2J\x0d\x0a\u202ex\u2028\x9b31m\x7f"
DATA = ESCAPES.encode()
NAMES = ESCAPES.replace("\r\n", "")


def ok(opcode: Opcode, **fields: Any) -> bytes:
    return encode_response(opcode, fields.pop("status", Status.OK), 0, **fields)


def scan_of(*documents: tuple[bytes, bytes]) -> dict[Opcode, bytes]:
    value = b"".join(pack_documents([(key, value, 0, 0, 0, 1, 1) for key, value in documents]))
    return {
        Opcode.RANGE_SCAN_CREATE: ok(Opcode.RANGE_SCAN_CREATE, value=b"u" * 16),
        Opcode.RANGE_SCAN_CONTINUE: ok(
            Opcode.RANGE_SCAN_CONTINUE, status=Status.SCAN_COMPLETE, extras=DOCUMENTS_EXTRAS, value=value
        ),
    }


def assert_harmless(output: str) -> None:
    assert all(cell.isprintable() for line in output.split("\n") for cell in line.split("\t")), output


ERRORS = {opcode: ok(opcode, status=Status.INTERNAL, value=DATA) for opcode in Opcode}


@pytest.mark.parametrize(
    "words",
    [
        "get HERE k", "set HERE k v", "delete HERE k", "scan HERE", "dump HERE", "stat HERE", "bucket list HERE", "bucket create HERE b",
        "bucket delete HERE b", "collection list HERE", "collection create HERE s.c", "backup HERE DIRECTORY", "load HERE FILE",
    ],
)  # fmt: skip
def test_errors(words: str, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text(json.dumps({"key": ESCAPES, "value": "v"}) + "\n")
    with playing({**ERRORS, Opcode.HELLO: ok(Opcode.HELLO, value=b"\0\7")}) as here:
        places = {"HERE": here, "FILE": file, "DIRECTORY": tmp_path / "backup"}
        output = one_line(*(places.get(word, word) for word in words.split()))
    assert_harmless(output)
    assert SHOWN in output


def test_the_text_of_a_file_in_an_error(tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text(json.dumps({ESCAPES: 1}) + "\n")
    with playing({}) as here:
        assert_harmless(one_line("load", here, file))
    assert_harmless(one_line("verify", tmp_path / f"none{NAMES}"))


@pytest.mark.parametrize("form", ["ndjson", "csv", "keys"])
def test_scans(form: str) -> None:
    with playing(scan_of((DATA, DATA), (b"key", b"tab\tand\r\nline\n"), (b"late", b"hidden\rshown"), (b"\xff", b""))) as here:
        output = run("scan", here, "--format", form)
        assert_harmless(output.replace("\t", "").replace("\r\n", "\n"))
        if form == "ndjson":
            found = [json.loads(line) for line in output.splitlines()]
            assert [document.get("key") for document in found] == [ESCAPES, "key", "late", None]
            assert [document["value"] for document in found] == [ESCAPES, "tab\tand\r\nline\n", "hidden\rshown", ""]
        elif form == "keys":
            assert output == f"{SHOWN}\nkey\nlate\n\\xff\n"
        else:
            rows = list(csv.DictReader(io.StringIO(output, newline="")))
            assert [(row["key_encoding"], row["value_encoding"]) for row in rows] == [
                ("base64", "base64"), ("utf-8", "utf-8"), ("utf-8", "base64"), ("base64", "utf-8"),
            ]  # fmt: skip
            assert base64.b64decode(rows[0]["key"]) == base64.b64decode(rows[0]["value"]) == DATA
            assert rows[1]["value"] == "tab\tand\nline\n"  # the harness reads lines


def test_a_dump() -> None:
    collections = {"uid": "1", "scopes": [{"uid": "0", "name": "_default", "collections": [{"uid": "0", "name": "_default"}]}]}
    answers = {
        **scan_of((DATA, DATA)),
        Opcode.LIST_BUCKETS: ok(Opcode.LIST_BUCKETS, value=b"default"),
        Opcode.SELECT_BUCKET: ok(Opcode.SELECT_BUCKET),
        Opcode.GET_COLLECTIONS_MANIFEST: ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps(collections).encode()),
        Opcode.GET_COLLECTION_ID: ok(Opcode.GET_COLLECTION_ID, extras=bytes(12)),
        # Statistics without an end.
        Opcode.STAT: ok(Opcode.STAT, key=b"name", value=b"value") * 100_000,
    }
    with playing(answers) as here:
        output = run("dump", here)
    assert_harmless(output)
    *left_out, document = output.splitlines()
    assert left_out == ["left out the bucket 'name': value", "left out further buckets: the server names more than 10000"]
    document = json.loads(document)
    assert (document["key"], document["value"]) == (ESCAPES, ESCAPES)


def test_an_item() -> None:
    with playing({Opcode.GET: ok(Opcode.GET, extras=bytes(4), value=DATA)}) as here:
        assert_harmless(run("get", here, "k", "--long", env={"COLUMNS": "200"}))
        assert_harmless(run("get", here, "k", "--long"))
        assert run_json("get", here, "k")["value"] == ESCAPES
        assert_harmless(run("get", here, "k", "--json"))
        assert run("get", here, "k", "--raw") == ESCAPES.replace("\r\n", "\n")  # the harness reads lines


@pytest.mark.timeout(30)
def test_a_value_that_no_table_could_show() -> None:
    """As a table, it would take minutes."""
    value = b"wide " * 4_000_000
    answers = {
        Opcode.GET: ok(Opcode.GET, extras=bytes(4), value=value),
        Opcode.STAT: ok(Opcode.STAT, key=b"name", value=value) + ok(Opcode.STAT),
    }
    with playing(answers) as here:
        assert len(run("get", here, "k", "--long", env={"COLUMNS": "80"})) < 50_000
        assert run("stat", here, env={"COLUMNS": "80"}) == run("stat", here) == f"name\t{value.decode()}\n"


@pytest.mark.parametrize("count", [1, 600])
def test_statistics(count: int) -> None:
    with playing({Opcode.STAT: ok(Opcode.STAT, key=DATA, value=DATA) * count + ok(Opcode.STAT)}) as here:
        assert_harmless(run("stat", here, env={"COLUMNS": "200"}))
        assert_harmless(run("stat", here))
        assert run_json("stat", here) == {ESCAPES: ESCAPES}
        assert_harmless(run("stat", here, "timings", "--json"))
        assert_harmless(run("stat", here, "timings", env={"COLUMNS": "40"}))
        assert_harmless(run("stat", here, "--json"))


def test_names() -> None:
    collections = {"uid": "1", "scopes": [{"uid": "0", "name": NAMES, "collections": [{"uid": "0", "name": "c"}]}]}
    answers = {
        Opcode.LIST_BUCKETS: ok(Opcode.LIST_BUCKETS, value=NAMES.encode()),
        Opcode.GET_COLLECTIONS_MANIFEST: ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps(collections).encode()),
    }
    with playing(answers) as here:
        assert_harmless(one_line("bucket", "list", here))
        assert_harmless(one_line("collection", "list", here))


def test_statistics_of_collections_that_are_no_numbers() -> None:
    collections = {"uid": "1", "scopes": [{"uid": "0", "name": "s", "collections": [{"uid": "8", "name": "c"}]}]}
    answers = {
        Opcode.GET_COLLECTIONS_MANIFEST: ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps(collections).encode()),
        Opcode.STAT: ok(Opcode.STAT, key=b"0x0:0x8:items", value=DATA)
        + ok(Opcode.STAT, key=b"0x0:0x8:data_size", value=b"9" * 5000)
        + ok(Opcode.STAT, key=b"\xff", value=b"\xff")
        + ok(Opcode.STAT),
    }
    with playing(answers) as here:
        assert "0x8" in run("collection", "list", here)
        assert run_rows("collection", "list", here) == [
            {"scope": "s", "collection": "c", "id": 8, "max_ttl": 0, "items": None, "data_size": None}
        ]


@pytest.mark.parametrize(
    "path",
    [
        "backup.json",
        "Backup.JSON",
        "backup.json.partial",
        "data.mdb.partial",
        "buckets.json",
        "Buckets",
        "..",
        "/etc/x",
        "n" * 300,
        "-rf",
    ],
)
def test_names_of_files_that_a_backup_can_not_have(path: str, tmp_path) -> None:
    manifest = {"uuid": "u", "files": [{"id": 1, "path": path, "size": "1"}]}
    answers = {
        Opcode.SELECT_BUCKET: ok(Opcode.SELECT_BUCKET),
        Opcode.PREPARE_SNAPSHOT: ok(Opcode.PREPARE_SNAPSHOT, value=json.dumps(manifest).encode()),
    }
    with playing(answers) as here:
        message = one_line("backup", here, tmp_path / "backup", "--bucket", "default")
    assert "the snapshot has a file named" in message
    assert not (tmp_path / "backup").exists()


def test_a_document_that_is_cut_off() -> None:
    answers = scan_of((b"key", b"value"))
    answers[Opcode.RANGE_SCAN_CONTINUE] = ok(
        Opcode.RANGE_SCAN_CONTINUE, status=Status.SCAN_COMPLETE, extras=DOCUMENTS_EXTRAS, value=bytes(25) + encode_leb128(5)
    )
    with playing(answers) as here:
        assert "malformed frame of a scan" in one_line("scan", here)


@pytest.mark.parametrize("words", ["stat HERE", "scan HERE --prefix", "bucket create HERE"])
def test_arguments_that_fit_no_request(words: str) -> None:
    """One may have twice as many bytes as a key in a frame."""
    with playing(ERRORS) as here:
        assert_harmless(run(*words.replace("HERE", here).split(), "x" * 100_000, status=2 if "bucket" in words else 1))


def test_names_of_files_in_arguments(tmp_path) -> None:
    name = str(tmp_path / NAMES)
    for words in (
        ("set", "127.0.0.1:1", "k", "v", name),
        ("load", "127.0.0.1:1", name),
        (name,),
        ("scan", "127.0.0.1:1", "--format", name),
    ):
        output = run(*words, status=2)
        assert_harmless(output)
        assert r"\u202e" in output
