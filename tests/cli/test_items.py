"""Commands for single items and for all keys, as they are typed."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time

import pytest
from click.testing import CliRunner

from support.commands import one_line, run, run_json, run_rows
from support.hostile import playing
from support.process import command
from trio_spool.cli import main
from trio_spool.mcbp import Opcode, encode_response


def output_of(*arguments: object) -> bytes:
    """The bytes on standard output, to a pipe."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def at_a_terminal(*arguments: str, columns: int = 80) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT, env=environment) as process:
        os.close(theirs)
        output = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                output += os.read(ours, 65536)
            except OSError:  # Linux says so at the end
                break
        assert process.wait(60) == 0, output
    os.close(ours)
    return output.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("value", [b"", b"hello", b"line\n", b"\xff\x00\r\n\x1b[2J", "日本".encode()])
def test_the_exact_bytes_go_to_a_pipe(server, tmp_path, value: bytes) -> None:
    (tmp_path / "value").write_bytes(value)
    run("set", server.address, "k", "--file", tmp_path / "value")
    assert output_of("get", server.address, "k") == value
    assert output_of("get", server.address, "k", "--raw") == value


def test_a_terminal_obeys_nothing(server, tmp_path) -> None:
    (tmp_path / "value").write_bytes(b"\x1b[31mred\ta\nb\xff\r")
    run("set", server.address, "k", "--file", tmp_path / "value")
    assert at_a_terminal("get", server.address, "k") == "\\x1b[31mred\ta\nb\\xff\\x0d\n"
    run("set", server.address, "k", "one line")
    assert at_a_terminal("get", server.address, "k") == "one line\n"


def test_several_keys(server) -> None:
    for name in "abc":
        run("set", server.address, name, f"value of {name}")
    assert output_of("get", server.address, "c", "a", "b") == b"value of c\nvalue of a\nvalue of b\n"
    assert output_of("get", server.address, "c", "a", "--raw") == b"value of cvalue of a"
    assert [row["key"] for row in run_rows("get", server.address, "c", "a")] == ["c", "a"]
    result = CliRunner().invoke(main, ["get", server.address, "x", "a", "y", "b"])
    assert result.exit_code == 1
    assert result.stdout_bytes == b"value of a\nvalue of b\n"
    assert result.stderr.splitlines() == [f"Error: not found: there is no item with the key '{name}'" for name in "xy"]


def test_more_keys_than_are_asked_for_at_once(server) -> None:
    names = [f"k{number:03}" for number in range(100)]
    for name in names[:50]:
        run("set", server.address, name, name)
    result = CliRunner().invoke(main, ["get", server.address, *names])
    assert result.stdout_bytes.decode().split() == names[:50]
    assert len(result.stderr.splitlines()) == 50


def test_a_long_value_in_a_table(server, tmp_path) -> None:
    (tmp_path / "value").write_bytes(b"x" * 10_001)
    run("set", server.address, "k", "--file", tmp_path / "value")
    output = run("get", server.address, "k", "--long")
    assert "x… (the first 10000 of 10001 bytes; get without --long prints all)" in output
    assert len(output_of("get", server.address, "k")) == 10_001
    assert "exclude each other" in run("get", server.address, "k", "--long", "--raw", status=2)


def test_a_table_at_forty_columns(server) -> None:
    run("set", server.address, "k", "a value that is longer than forty columns are wide")
    output = run("get", server.address, "k", "--long", env={"COLUMNS": "40"})
    assert all(len(line) <= 40 for line in output.splitlines())
    assert "".join(line[7:] for line in output.splitlines() if line.startswith(("value  ", "       "))) == (
        "a value that is longer than forty columns are wide"
    )
    assert str(run_json("get", server.address, "k")["cas"]) in output
    statistics = run("stat", server.address, "settings", env={"COLUMNS": "40"})
    assert all(len(line) <= 40 for line in statistics.splitlines())
    assert "…" not in statistics


def test_a_table_to_a_pipe(server) -> None:
    run("set", server.address, "k", "a\tb\nc")
    (line,) = run("get", server.address, "k", "--long").splitlines()
    assert line.split("\t") == ["k", "0", str(run_json("get", server.address, "k")["cas"]), "5", "a\\x09b\\x0ac"]
    assert "k" in at_a_terminal("get", server.address, "k", "--long")
    assert "━" in at_a_terminal("get", server.address, "k", "--long")
    assert "\x1b[3" not in at_a_terminal("stat", server.address, "settings")  # a colour


def test_counting(server) -> None:
    here = server.address
    assert one_line("incr", here, "n") == "Error: not found: there is no item with the key 'n'; --initial makes it\n"
    assert run("incr", here, "n", "--initial", 5) == "5\n"
    assert run("incr", here, "n") == "6\n"
    assert run("incr", here, "n", 10) == "16\n"
    assert run("decr", here, "n", "2") == "14\n"
    assert run("decr", here, "n", "200") == "0\n"
    assert run_json("incr", here, "n", "7") == {"key": "n", "number": 7}
    assert output_of("get", here, "n") == b"7"
    run("set", here, "text", "no number")
    assert "the value of 'text' is not a number of decimal digits" in one_line("incr", here, "text")
    run("set", here, "text", "18446744073709551616")
    assert "below 2^64" in one_line("decr", here, "text")
    assert "'x' is not a whole number from 0 to 18446744073709551615" in run("incr", here, "n", "x", status=2)
    assert "'18446744073709551616' is not" in run("incr", here, "n", 2**64, status=2)
    assert run("incr", here, "n", 2**64 - 7) == "0\n"
    assert "needs --initial" in run("incr", here, "n", "--expire", "10m", status=2)
    run("incr", here, "made", "--initial", "1", "--expire", "10m")
    assert 595 <= run_json("expire", here, "made")["expiry"] - time.time() <= 601


def test_expiring(server) -> None:
    here = server.address
    run("set", here, "k", "v", "--expire", "1h")
    assert 3590 < run_json("expire", here, "k")["expiry"] - time.time() <= 3601
    assert run("touch", here, "k", "10m").startswith("expires in 10m, at ")
    assert run("expire", here, "k").startswith(("expires in 10m", "expires in 9m5"))
    assert run("expire", here, "k", "45d").startswith("expires in 45d")
    assert 45 * 86400 - 10 < run_json("expire", here, "k")["expiry"] - time.time() <= 45 * 86400 + 2
    assert run("expire", here, "k", "never") == run("expire", here, "k") == "never expires\n"
    assert run_json("touch", here, "k", "0") == {"key": "k", "expiry": 0}
    for words in (("touch", here, "none", "1m"), ("expire", here, "none"), ("expire", here, "none", "1m")):
        assert "no item with the key 'none'" in one_line(*words)
    assert "'soon' is not a time" in run("touch", here, "k", "soon", status=2)


@pytest.mark.parametrize("reply", [b"", b"x", b"12345678901", b'"1"', b"\xb2"])
def test_what_is_no_expiry(reply: bytes) -> None:
    replies = {
        Opcode.HELLO: encode_response(Opcode.HELLO, 0, 0, value=b"\0\6"),
        Opcode.SUBDOC_GET: encode_response(Opcode.SUBDOC_GET, 0, 0, value=reply),
    }
    with playing(replies) as here:
        assert "something other than an expiry" in one_line("expire", here, "k")


def test_an_expiry_that_the_server_does_not_tell() -> None:
    with playing({Opcode.HELLO: encode_response(Opcode.HELLO, 0x81, 0)}) as here:
        assert "does not tell when items expire" in one_line("expire", here, "k")


def test_keys(server) -> None:
    here = server.address
    for key in ("a", "user:1", "user:2", "tab\tline\n", os.fsdecode(b"\xff")):
        run("set", here, key, "v")
    assert run("keys", here) == "a\ntab\\x09line\\x0a\nuser:1\nuser:2\n\\xff\n"
    assert output_of("keys", here, "--null") == b"a\0tab\tline\n\0user:1\0user:2\0\xff\0"
    assert output_of("keys", here, "--prefix", "user:", "-0") == b"user:1\0user:2\0"
    assert run("keys", here, "--limit", "1") == "a\n"
    assert run("keys", here, "--limit", "0") == ""
    assert run("keys", here, "--prefix", "none") == ""
    assert run_rows("keys", here)[-1] == {"key_base64": "/w=="}
    assert "exclude each other" in run("keys", here, "--null", "--json", status=2)


def test_flush(server) -> None:
    here = server.address
    run("collection", "create", here, "shop.orders")
    for words in (("a",), ("b",), ("c", "--collection", "shop.orders")):
        run("set", here, words[0], "v", *words[1:])
    assert run("flush", here, "--collection", "shop.orders") == (
        "deleted 1 items of the collection shop.orders of the bucket default\n"
    )
    assert run("keys", here, "--collection", "shop.orders") == ""
    assert run("keys", here) == "a\nb\n"
    assert run_json("flush", here) == {"bucket": "default", "flushed": True}
    assert run("keys", here) == ""
    assert "no collection" in one_line("flush", here, "--collection", "no.such").lower()


def test_flush_of_one_bucket(server) -> None:
    here = server.address
    run("bucket", "create", here, "shop")
    run("set", here, "k", "v")
    run("set", here, "k", "v", "--bucket", "shop")
    assert run("flush", here, "-b", "shop") == "deleted all items of the bucket shop\n"
    assert (run("keys", here), run("keys", here, "-b", "shop")) == ("k\n", "")


def test_flush_of_many_items_of_a_collection(server, tmp_path) -> None:
    here = server.address
    run("collection", "create", here, "s.c")
    file = tmp_path / "many.ndjson"
    file.write_text("".join(json.dumps({"key": f"k{number}", "value": ""}) + "\n" for number in range(2000)))
    run("load", here, file, "--collection", "s.c")
    assert run_json("flush", here, "--collection", "s.c")["deleted"] == 2000
    assert run("keys", here, "--collection", "s.c") == ""


def test_in_a_collection(server) -> None:
    here = [server.address, "--collection", "s.c"]
    run("collection", "create", server.address, "s.c")
    run("incr", *here, "n", "--initial", "3")
    assert run_json("incr", *here, "n") == {"collection": "s.c", "key": "n", "number": 4}
    assert run("touch", *here, "n", "1h").startswith("expires in 1h")
    assert run("expire", *here, "n").startswith("expires in ")
    assert output_of("get", *here, "n") == b"4"
    assert "in the collection s.c" in one_line("get", *here, "none")
    assert "not found" in one_line("get", server.address, "n")
    assert run("delete", *here, "n") == "deleted\n"


def test_delete_of_several(server) -> None:
    for name in "ab":
        run("set", server.address, name, "v")
    result = CliRunner().invoke(main, ["delete", server.address, "a", "x", "b"])
    assert (result.exit_code, result.stdout) == (1, "deleted\ndeleted\n")
    assert result.stderr == "Error: not found: there is no item with the key 'x'\n"
