"""``trio-spool load``, of what people have in files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.commands import one_line, run, run_json
from trio_spool.cli._documents import Item
from trio_spool.cli._errors import FileError
from trio_spool.cli._load import _Source
from trio_spool.cli._storing import PIPELINE, store_all
from trio_spool.mcbp import MAX_FRAME, DataType, Feature


def value_of(server, key: str) -> str:
    return run_json("get", server.address, key)["value"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("null", "the key must be text or a number; 'id' is missing"),
        ("true", "the key must be text or a number; 'id' is true"),
        ("false", "'id' is false"),
        ('{"a": 1}', """'id' is {"a": 1}"""),
        ("[1]", "'id' is [1]"),
        ("NaN", "'id' is NaN"),
        ("1e999", "'id' is Infinity"),
        ('"\\ud800"', "'id' contains a surrogate, which is not a character"),
        ("[" * 100_000, "too deeply nested"),
        ('"%s"' % ("k" * 251), "a key has 1 to 250 bytes; 'id' has 251"),
    ],
)
def test_values_that_are_no_keys(server, tmp_path, value: str, message: str) -> None:
    file = tmp_path / "documents.ndjson"
    file.write_text('{"id": "first"}\n{"id": ' + value + "}\n")
    output = one_line("load", server.address, file, "--key", "id")
    assert output.startswith(f"Error: {file}, line 2: ")
    assert message in output
    assert "--key" not in output


def test_texts_and_numbers_are_keys(server, tmp_path) -> None:
    file = tmp_path / "documents.ndjson"
    file.write_text('{"id": "a b"}\n{"id": 7}\n{"id": 1.5}\n{"id": 0}\n{"id": "null"}\n')
    run("load", server.address, file, "--key", "id")
    for key in ("a b", "7", "1.5", "0", "null"):
        assert value_of(server, key)


def test_short_rows(server, tmp_path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("name,id\nann,1\nbob\n")
    output = one_line("load", server.address, file, "--key", "id")
    assert output == f"Error: {file}, line 3: the key must be text or a number; 'id' is missing\n"


def test_a_byte_order_mark_is_no_part_of_a_name(server, tmp_path) -> None:
    rows, lines = tmp_path / "rows.csv", '{"id": "b"}\n'
    rows.write_text("id,name\na,ann\n", "utf-8-sig")
    run("load", server.address, rows, "--key", "id")
    assert json.loads(value_of(server, "a")) == {"id": "a", "name": "ann"}
    (tmp_path / "lines.ndjson").write_text(lines, "utf-8-sig")
    run("load", server.address, tmp_path / "lines.ndjson", "--key", "id")
    assert value_of(server, "b") == '{"id": "b"}'
    run("load", server.address, "-", "--key", "id", input=lines.replace("b", "c").encode("utf-8-sig"))
    assert value_of(server, "c") == '{"id": "c"}'


def test_large_fields(server, tmp_path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,text\na," + "x" * 1_000_000 + "\n")
    run("load", server.address, file, "--key", "id")
    assert len(json.loads(value_of(server, "a"))["text"]) == 1_000_000
    file.write_text("id,text\na," + "x" * (MAX_FRAME + 1) + "\n")
    assert "line 2: not valid CSV: field larger than field limit" in one_line("load", server.address, file, "--key", "id")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('{"id": 1}', True),
        ('{"key": 1, "value": "v"}', True),
        ('{"key": "k", "value": "v", "flags": -1}', False),
        ('{"key": "", "value": "v"}', False),
        ('{"key"', False),
        ("[" * 100_000, False),
        ("[]", False),
    ],
)
def test_the_hint_is_given_where_it_helps(server, line: str, hint: bool) -> None:
    assert ("name the field of the key with --key" in one_line("load", server.address, "-", input=line)) == hint


@pytest.mark.parametrize(
    "arguments",
    [("load", "-"), ("load", "-", "--key", "id"), ("set", "k", "--file", "-"), ("get", "k", "-u", "a", "--password-stdin")],
)
def test_standard_input_is_closed(server, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    script = 'exec "$0" -m trio_spool "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, command, server.address, *rest], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "Error: standard input is closed; redirect it from a file, as with < FILE\n"


class Peer:
    """A client whose server takes everything, when it is asked for."""

    features = frozenset({Feature.XERROR})

    def __init__(self) -> None:
        self.waiting = self.most = 0
        self.datatypes: set[int] = set()

    async def begin_set(self, key: bytes, value: bytes, *, flags: int, expiry: int, datatype: int) -> bytes:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.datatypes.add(datatype)
        return key

    async def finish_set(self, call: bytes) -> None:
        self.waiting -= 1


class Anywhere:
    """Destinations on a server without collections."""

    async def key_of(self, item: Item) -> bytes:
        return item.key


async def test_few_documents_wait_for_their_replies() -> None:
    peer, reports = Peer(), []
    items = (Item(b"%d" % number, b"v", datatype=DataType.JSON) for number in range(3 * PIPELINE))
    assert await store_all(peer, items, lambda: reports.append(peer.waiting), Anywhere()) == 3 * PIPELINE
    assert (peer.waiting, peer.most, len(reports)) == (0, PIPELINE, 3 * PIPELINE)
    assert peer.datatypes == {DataType.RAW}  # a server without JSON does not take the datatype


@pytest.mark.parametrize("name", ["long.ndjson", "long.csv"])
def test_a_line_without_an_end(name: str, tmp_path) -> None:
    """No more of it is read than could be stored."""
    file = tmp_path / name
    file.write_text('{"k": 1}\n' + "x" * 100)
    with pytest.raises(FileError, match=r"has a line of more than 50 characters after byte 9$"):
        list(_Source(file, "k", max_line=50).items())


def test_the_name_of_an_attribute_that_fits_no_request(server, tmp_path) -> None:
    file = tmp_path / "long.ndjson"
    file.write_text(json.dumps({"key": "k", "value": "{}", "xattrs": {"n" * 70_000: "1"}}) + "\n")
    assert "line 1: 'xattrs' must be an object with names of at most 250 characters" in one_line("load", server.address, file)
