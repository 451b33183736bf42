"""Where a server is: what SERVER may be, and which argument it is."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.commands import one_line, run
from support.process import running
from trio_spool.cli import main
from trio_spool.cli._addresses import Address, looks_like_address, parse_address
from trio_spool.cli._server_command import ServerArgument, ServerCommand


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db", Address("db", 11210)), ("db:5", Address("db", 5)), ("10.0.0.1", Address("10.0.0.1", 11210)),
        ("[::1]:5", Address("::1", 5)), ("[::1]", Address("::1", 11210)), ("::1", Address("::1", 11210)),
        ("tcp://db", Address("db", 11210)), ("tcp://db:5/", Address("db", 5)), ("tcp://[::1]:5", Address("::1", 5)),
        ("tls://db", Address("db", 11207, tls=True)), ("tls://db:5", Address("db", 5, tls=True)),
        ("memcached://db", Address("db", 11211, classic=True)),
        ("couchbase://db", Address("db", 11210)), ("couchbases://db", Address("db", 11207, tls=True)),
        ("couchbase://ann@db:5/shop", Address("db", 5, username="ann", bucket="shop")),
        ("couchbases://a%40b@[::1]/sh%20op", Address("::1", 11207, tls=True, username="a@b", bucket="sh op")),
        ("unix:/run/s", Address("unix:/run/s", 0)), ("unix:s", Address("unix:s", 0)), ("unix:///run/s", Address("unix:/run/s", 0)),
    ],
)  # fmt: skip
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "HOST[:PORT]"), (":5", "HOST[:PORT]"), ("a b", "HOST[:PORT]"), ("db:", "HOST[:PORT]"), ("db:x", "HOST[:PORT]"),
        ("a:b:5", "HOST[:PORT]"), ("[x]:5", "HOST[:PORT]"), ("[1.2.3.4]:5", "HOST[:PORT]"), ("tcp://", "HOST[:PORT]"),
        ("unix:", "HOST[:PORT]"), ("unix:/", "HOST[:PORT]"), ("couchbase://", "HOST[:PORT]"),
        ("db:0", "a port is from 1 to 65535"), ("db:65536", "has the port 65536"), ("tcp://db:99999", "has the port 99999"),
        ("http://db", "http:// can't be used"), ("postgres://db", "postgres:// can't be used"),
        ("couchbase://a,b", "names several servers"), ("couchbase://a?x=1", "is for SDKs"),
        ("tcp://ann@db", "only couchbase:// and couchbases:// take a user"), ("tls://db/shop", "take a user and a bucket"),
    ],
)  # fmt: skip
def test_what_is_no_address(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["couchbase://u:pencil@db", "tcp://u:pencil@db", "couchbase://u:pencil@", "x://u:pencil@y", "u:pencil@db"]
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert "pencil" not in str(caught.value)
    if text.startswith("couch"):
        assert "TRIO_SPOOL_PASSWORD" in str(caught.value)


@given(st.text() | st.from_regex(r"(couchbase|tls|tcp|unix)s?:(//)?[a-z@:/\[\]0-9%?,.]{0,20}", fullmatch=True))
@example("couchbase://\ud800@x")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = parse_address(text)
        assert found.is_unix or 0 < found.port < 65536


@pytest.mark.parametrize(
    ("word", "among_words", "among_keys"),
    [
        ("tcp://db", True, True), ("unix:s", True, True), ("couchbase://db", True, True), ("127.0.0.1:5", True, True),
        ("localhost:5", True, True), ("[::1]:5", True, True), ("db.example.com:5", True, True),
        ("user:17", True, False), ("db:11210", True, False),
        ("user", False, False), ("127.0.0.1", False, False), ("user:99999", False, False), ("user:0", False, False),
        ("http://db", False, False), ("a:b:5", False, False), ("user:17:x", False, False), ("-", False, False),
    ],
)  # fmt: skip
def test_what_looks_like_an_address(word: str, among_words: bool, among_keys: bool) -> None:
    assert looks_like_address(word, certainly=False) == among_words
    assert looks_like_address(word, certainly=True) == among_keys


def commands(group: click.Group = main) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


def test_every_command_with_a_server_finds_it() -> None:
    found = [one for one in commands() if any(isinstance(param, ServerArgument) for param in one.params)]
    assert len(found) >= 13
    assert all(isinstance(one, ServerCommand) for one in found), found
    with_server = {option.name for one in found for option in one.params} & {"server", "answer_timeout", "username"}
    assert with_server == {"server", "answer_timeout", "username"}
    for one in found:
        assert {"server", "answer_timeout", "username"} <= {option.name for option in one.params}, one.name


def arguments_of(words: str, monkeypatch: pytest.MonkeyPatch | None = None, variable: str = "") -> dict[str, object]:
    """Parse the arguments of a command; return them, and as `server` where it is to be found."""
    if variable:
        assert monkeypatch is not None
        monkeypatch.setenv("TRIO_SPOOL_SERVER", variable)
    name, *rest = words.split()
    command = main.get_command(click.Context(main), name)
    params = command.make_context(name, rest).params
    return {**params, "server": str(params.pop("server_word", None) or params["server"])}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("set k v", {"server": "127.0.0.1:11210", "key": b"k", "value": "v"}),
        ("set db:5 k v", {"server": "db:5", "key": b"k", "value": "v"}),
        ("set db k v", {"server": "db:11210", "key": b"k"}),
        ("set user:17 v", {"server": "127.0.0.1:11210", "key": b"user:17", "value": "v"}),
        ("set -s db k v", {"server": "db:11210", "key": b"k"}),
        ("set k v --server db", {"server": "db:11210", "key": b"k"}),
        ("set -s db 10.0.0.1:80 v", {"server": "db:11210", "key": b"10.0.0.1:80"}),
        ("stat keys:5 -s db", {"server": "db:11210", "group": "keys:5"}),
        ("set --server=tcp://db -- 10.0.0.1:80 v", {"server": "db:11210", "key": b"10.0.0.1:80"}),
        ("set -- 10.0.0.1:80 v", {"server": "127.0.0.1:11210", "key": b"10.0.0.1:80"}),
        ("set 10.0.0.1:80 -- -k -v", {"server": "10.0.0.1:80", "key": b"-k", "value": "-v"}),
        ("set k --file -", {"server": "127.0.0.1:11210", "key": b"k", "value": None}),
        ("set db k --file -", {"server": "db:11210", "key": b"k", "value": None}),
        ("set --flags 5 db k v", {"server": "db:11210", "flags": 5}),
        ("set -u db k v", {"server": "127.0.0.1:11210", "username": "db", "key": b"k"}),
        ("stat", {"server": "127.0.0.1:11210", "group": ""}),
        ("stat keys", {"server": "127.0.0.1:11210", "group": "keys"}),
        ("stat db:5", {"server": "db:5", "group": ""}),
        ("stat db keys", {"server": "db:11210", "group": "keys"}),
        ("dump -", {"server": "127.0.0.1:11210"}),
        ("dump unix:s", {"server": "unix:s", "file": None}),
        ("dump couchbase://ann@db/shop x", {"server": "db:11210", "file": Path("x")}),
        ("scan", {"server": "127.0.0.1:11210"}),
        ("scan db", {"server": "db:11210"}),
    ],
)  # fmt: skip
def test_which_argument_is_the_server(words: str, expected: dict[str, object]) -> None:
    found = arguments_of(words)
    assert {name: found[name] for name in expected} == expected


@given(
    st.sampled_from(["get", "set", "stat", "dump", "load", "expire", "scan"]),
    st.lists(
        st.sampled_from(
            [
                "k",
                "db:5",
                "10.0.0.1:5",
                "tcp://db",
                "--",
                "-",
                "-s",
                "db",
                "--file",
                "-u",
                "--json",
                "-5",
                "--x",
                "-h",
                "--server=db",
                "",
            ]
        )
        | st.text(max_size=3),
        max_size=6,
    ),
)
def test_any_arguments_are_parsed_or_refused(name: str, words: list[str]) -> None:
    command = main.get_command(click.Context(main), name)
    with contextlib.suppress(click.UsageError, click.exceptions.Exit), contextlib.redirect_stdout(io.StringIO()):
        context = command.make_context(name, words)
        found = context.params.get("server_word")
        assert isinstance(found or context.params["server"], Address)
        if found is not None:  # --server leaves no argument for the server
            assert context.get_parameter_source("server") is not click.core.ParameterSource.COMMANDLINE


def test_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments_of("set k v", monkeypatch, "tls://db")["server"] == "db:11207"
    assert arguments_of("set -s here k v")["server"] == "here:11210"
    assert arguments_of("set here k v")["server"] == "here:11210"
    monkeypatch.setenv("TRIO_SPOOL_SERVER", "db:x")
    assert "'TRIO_SPOOL_SERVER'): 'db:x' is not the address of a server" in run("set", "k", "v", status=2)


def test_what_is_missing() -> None:
    output = run("delete", "127.0.0.1:80", status=2)
    assert "Missing argument 'KEY...'; '127.0.0.1:80' was taken for the server; if it is not, put -- before it" in output
    assert run("delete", status=2).rstrip().endswith("Missing argument 'KEY...'.")
    assert "taken for the server" in one_line("set", "no-such-host.invalid", "k", "v")


def test_a_server_that_nobody_has_started(unused: int) -> None:
    here = f"127.0.0.1:{unused}"
    assert one_line("get", here, "key") == f"Error: can't connect to {here}: connection refused\n"
    assert one_line("get", "key", env={"TRIO_SPOOL_SERVER": here}) == f"Error: can't connect to {here}: connection refused\n"


@pytest.fixture
def unused() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@attrs.frozen
class Here:
    tcp: str
    unix: str


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    path = tmp_path_factory.mktemp("socket") / "s"
    with running("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--listen", f"unix:{path}", listeners=2) as process:
        yield Here(process.address, f"unix:{path}")


def test_every_form_reaches_the_server(here: Here, tmp_path: Path) -> None:
    run("set", here.tcp, "k", "v")
    for form in (
        here.unix,
        here.unix.replace("unix:", "unix://"),
        f"tcp://{here.tcp}",
        f"couchbase://{here.tcp}",
        f"memcached://{here.tcp}",
    ):
        assert "v" in run("get", form, "k", "--raw")
        assert "v" in run("get", "k", "--raw", "-s", form)
        assert "v" in run("get", "k", "--raw", env={"TRIO_SPOOL_SERVER": form})
    assert run("stat", here.unix, "settings")
    assert "dumped 1 documents" in run("dump", here.unix, tmp_path / "all.ndjson")
    run("bucket", "create", here.unix, "shop")
    run("set", f"couchbase://{here.tcp}/shop", "k", "of the shop")
    assert run("get", "-s", f"couchbase://{here.tcp}/shop", "k", "--raw") == "of the shop"
    assert run("get", "-s", f"couchbase://{here.tcp}/shop", "-b", "default", "k", "--raw") == "v"


def test_errors_of_sockets(here: Here, tmp_path: Path) -> None:
    assert (
        one_line("get", f"unix:{tmp_path}/none", "k")
        == f"Error: can't connect to unix:{tmp_path}/none: no such file or directory\n"
    )
    assert "connection refused" in one_line("get", f"unix:{tmp_path}", "k")
    assert "path too long" in one_line("get", "unix:" + "x" * 200, "k").lower()
    assert "is not encrypted" in run("get", here.unix, "k", "--tls", status=2)


@pytest.mark.skipif(shutil.which("memcached") is None, reason="there is no memcached")
def test_memcached(unused: int, tmp_path: Path) -> None:
    """It falls silent after a request with a body that it does not know, such as HELLO."""
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    arguments = ["memcached", "-l", "127.0.0.1", "-p", str(unused), *user]
    with subprocess.Popen(arguments) as process:
        try:
            there = f"memcached://127.0.0.1:{unused}"
            for _ in range(1000):
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", unused)):
                    break
                time.sleep(0.01)
            assert "stored 1 bytes" in run("set", there, "n", "5", "--timeout", "20s")
            assert run("incr", there, "n") == "6\n"
            assert run("touch", there, "n", "10m").startswith("expires in 10m")
            assert run("get", there, "n") == "6"
            file = tmp_path / "documents"
            file.write_text(
                '{"key": "x", "value": "y"}\n{"bucket": "default", "collection": "_default._default", "key": "z", "value": "y"}\n'
            )
            assert run("load", there, file) == "stored 2 documents\n"
            file.write_text('{"bucket": "shop", "key": "z", "value": "y"}\n')
            assert "memcached has no buckets" in one_line("load", there, file)
            assert "curr_items" in run("stat", there)
            assert run("flush", there) == "deleted all items of the bucket default\n"
            assert "not found" in one_line("get", there, "x")
            for words in (("scan",), ("keys",), ("dump",), ("expire", "n"), ("bucket", "list"), ("bucket", "delete", "x")):
                group = 2 if words[0] == "bucket" else 1
                assert "memcached has nothing for" in run(*words[:group], there, *words[group:], status=2)
            assert "no buckets and no collections" in run("get", there, "n", "--collection", "a.b", status=2)
        finally:
            process.terminate()
