"""The command line, as it is typed."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from support.commands import one_line, run, run_json
from support.process import command
from trio_spool.cli import main
from trio_spool.mcbp import Opcode, Status, encode_response
from trio_spool.testing import running_server


def test_set_get_delete(server, tmp_path) -> None:
    assert "stored 5 bytes" in run("set", server.address, "key", "value")
    assert "value" in run("get", server.address, "key")
    stored = run_json("get", server.address, "key")
    assert (stored["value"], stored["flags"]) == ("value", 0)
    assert stored["cas"]
    assert "not found" in one_line("get", server.address, "none").lower()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00")
    assert run_json("set", server.address, "bin", "--file", str(binary), "--flags", "3")["bytes"] == 2
    assert run_json("get", server.address, "bin")["value_base64"] == "/wA="
    assert CliRunner().invoke(main, ["get", server.address, "bin", "--raw"]).stdout_bytes == b"\xff\x00"
    assert "deleted" in run("delete", server.address, "key")
    assert run_json("delete", server.address, "bin")["deleted"]
    one_line("delete", server.address, "key")


def test_what_is_stored_is_shown_as_it_is(server) -> None:
    """It is neither markup, nor emoji, nor does it tell the terminal what to do."""
    key, value = "m[/x]", "[/red] [b]bold[/b] :smile: \x1b[2J"
    run("set", server.address, key, value)
    for output in (run("get", server.address, key, "--long"), run("stat", server.address, "keys")):
        assert key in output
    shown = run("get", server.address, key, "--long", env={"COLUMNS": "200"})
    assert "\x1b" not in shown
    assert "[/red] [b]bold[/b] :smile: \\x1b[2J" in shown
    assert "no group of statistics" in one_line("stat", server.address, os.fsdecode(b"\xff"))
    run("set", server.address, "é", "é")
    assert "\\xe9" in CliRunner(charset="ascii").invoke(main, ["get", server.address, "é", "--long"]).output


def test_a_value_over_the_limit_is_explained(server, tmp_path) -> None:
    run("set", server.address, "key", "old")
    big = tmp_path / "big"
    big.write_bytes(bytes(20 * 1024 * 1024 + 1))
    assert "the limit for a value is 20971520 bytes" in one_line("set", server.address, "key", "--file", str(big))
    assert run_json("get", server.address, "key")["value"] == "old"
    big.write_bytes(bytes(60 * 1024 * 1024))
    assert "the value has more than 31457280 bytes, the maximum of a request" in one_line(
        "set", server.address, "key", "--file", str(big)
    )


def test_wrong_use(server) -> None:
    assert "VALUE" in run("set", server.address, "key", status=2)
    assert "exclude each other" in run("get", server.address, "key", "--raw", "--json", status=2)
    assert "250" in run("get", server.address, "k" * 251, status=2)
    assert "HOST[:PORT]" in run("set", "non sense", "key", "value", status=2)
    assert "a port is from 1 to 65535" in run("set", "host:99999", "key", "value", status=2)


def test_stat(server) -> None:
    run("set", server.address, "key", "value")
    assert "curr_items" in run("stat", server.address)
    assert list(run_json("stat", server.address, "keys")) == ["key"]
    assert "no group of statistics 'nothing'" in one_line("stat", server.address, "nothing")
    assert run("stat", server.address, "reset") == ""


def test_many_statistics_are_printed_as_they_come(server, tmp_path) -> None:
    file = tmp_path / "documents.ndjson"
    file.write_text("".join(json.dumps({"id": f"key{n:0200}"}) + "\n" for n in range(2000)))  # more than fits in a pipe
    assert run("load", server.address, file, "--key", "id") == "stored 2000 documents\n"
    assert len(run("stat", server.address, "keys").splitlines()) == 2000
    with subprocess.Popen(command("stat", server.address, "keys"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(100) == 0


def test_load_csv(server, tmp_path) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([["name", "age"], ["ann", "5"], ["bob\nby", "6"]])
    assert run_json("load", server.address, str(file), "--key", "name") == {"stored": 2}
    assert json.loads(run_json("get", server.address, "ann")["value"]) == {"name": "ann", "age": "5"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": 1}\n{"id"', "line 2: not valid JSON"),
        ("[1]\n", "line 1: not a JSON object"),
        ('\n{"name": 1, "other": 2}\n', "line 2: there is no field 'id'; the fields are name, other"),
        ('{"id": ""}\n', "1 to 250 bytes"),
    ],
)
def test_load_bad_documents(server, tmp_path, content: str, message: str) -> None:
    file = tmp_path / "bad.ndjson"
    file.write_text(content)
    assert message in one_line("load", server.address, str(file), "--key", "id")


def test_load_a_refused_document(tmp_path) -> None:
    file = tmp_path / "big.ndjson"
    file.write_text(json.dumps({"id": "big", "value": "x" * 1000}) + "\n")
    with running_server(max_item_size=100) as server:
        assert "stored 0 documents, but not 'big'" in one_line("load", server.address, file, "--key", "id")


def test_connection_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert "connection refused" in one_line("stat", f"127.0.0.1:{port}")
    assert "can't connect" in one_line("stat", "no.such.host.invalid:1")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"", b"\x81\x77" + bytes(22), b"\x81"])
def test_wrong_protocol(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                connection.recv(10)

        thread = threading.Thread(target=answer)
        thread.start()
        output = one_line("get", f"127.0.0.1:{listener.getsockname()[1]}", "key")
        thread.join()
    assert "protocol" in output or "closed" in output or "broke" in output


@pytest.mark.parametrize("words", ["get HERE key", "set HERE key value", "delete HERE key", "stat HERE", "bucket list HERE"])
def test_no_answer(words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        message = one_line(*words.replace("HERE", here).split(), "--timeout", 0.05)
    assert message == (
        f"Error: {here} did not answer within 0.05 seconds; is it a trio-spool server? "
        "If it is slow, choose a longer --timeout; if it is memcached, put memcached:// before its address\n"
    )


def test_a_server_without_features() -> None:
    """memcached refuses to negotiate, and then does what it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                for opcode, status in ((Opcode.HELLO, Status.UNKNOWN_COMMAND), (Opcode.SET, 0)):
                    request = connection.recv(10_000)
                    assert request[1] == opcode
                    connection.sendall(encode_response(opcode, status, int.from_bytes(request[12:16], "big"), cas=7))

        with ThreadPoolExecutor() as pool:
            answered = pool.submit(answer)
            here = f"127.0.0.1:{listener.getsockname()[1]}"
            assert run("set", here, "key", "value") == "stored 5 bytes, cas 7\n"
            answered.result()


# serve


def test_serve_and_stop(start, tmp_path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with start(str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", "-v") as process:
            run("set", process.address, "key", "value")
            status, log = process.stop(number)
            assert status == 0
            assert "Traceback" not in log
            assert number.name in log


def test_restart_and_kill(start, tmp_path) -> None:
    arguments = (str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0")
    with start(*arguments) as process:
        run("set", process.address, "first", "1")
    with start(*arguments) as process:
        assert "1" in run("get", process.address, "first")
        run("set", process.address, "second", "2")
        process.popen.kill()
        process.popen.wait()
    with start(*arguments) as process:
        assert run_json("get", process.address, "second")["value"] == "2"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_hangup_without_users_ends_nothing(start, tmp_path) -> None:
    path = tmp_path / "socket"
    arguments = ("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--listen", f"unix:{path}")
    with start(*arguments, listeners=2) as process:
        process.popen.send_signal(signal.SIGHUP)
        assert "settings reloaded              changed=nothing" in process.popen.stderr.readline()
        assert "stored" in run("set", process.address, "key", "value")
        status, log = process.stop()
    assert (status, log) == (0, "")
    assert not path.exists()


def test_second_signal_ends_at_once(start, tmp_path) -> None:
    file = tmp_path / "documents.ndjson"
    # 3 MB, in few documents: more than the sockets on the way take.
    file.write_text("".join(json.dumps({"id": f"key{n:0240}"}) + "\n" for n in range(12_000)))
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--drain-timeout", "600", "-v") as process:
        run("load", process.address, str(file), "--key", "id")
        with socket.create_connection(("127.0.0.1", process.port)) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.sendall(bytes.fromhex("80100004000000000000000400000000") + bytes(8) + b"keys")
            stalled.recv(1)
            process.popen.send_signal(signal.SIGTERM)
            while "SIGTERM" not in (line := process.popen.stderr.readline()):
                assert line
            assert process.popen.poll() is None
            status, _ = process.stop()
        assert status == 0


def test_options_from_a_file_and_from_variables(start, tmp_path) -> None:
    config = tmp_path / "spool.toml"
    config.write_text('engine = "memory"\nmax-item-size = 1000\nmax_connections = 7\nlisten = ["tcp://127.0.0.1:0"]\n')
    with start("--config", str(config), env={"TRIO_SPOOL_MAX_CONNECTIONS": "8"}) as process:
        settings = run_json("stat", process.address, "settings")
        assert (settings["item_size_max"], settings["maxconns"], settings["engine"]) == (1000, 8, "memory")


def test_default_directory(start, tmp_path) -> None:
    with start("--listen", "tcp://127.0.0.1:0", env={"XDG_DATA_HOME": str(tmp_path)}) as process:
        run("set", process.address, "key", "value")
    assert (tmp_path / "trio-spool" / "trio-spool.json").exists()


def test_several_listeners(start, tmp_path) -> None:
    path = str(tmp_path / "socket")
    arguments = ("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--listen", f"unix:{path}")
    with start(*arguments, listeners=2) as process:
        assert process.addresses[1] == f"unix:{path}"
    assert not os.path.exists(path)


def test_serve_refusals(tmp_path, server) -> None:
    assert "in use" in one_line("serve", "--engine", "memory", "--listen", f"tcp://127.0.0.1:{server.port}")
    assert "no authentication" in one_line("serve", "--engine", "memory", "--listen", "tcp://0.0.0.0:0")
    assert "an address is" in one_line("serve", "--engine", "memory", "--listen", "nonsense")
    assert "window" in one_line("serve", "--engine", "memory", "--window", "0")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("x")
    assert "not empty" in one_line("serve", str(tmp_path / "foreign"), "--listen", "tcp://127.0.0.1:0")
    assert "keeps no data" in run("serve", str(tmp_path), "--engine", "memory", status=2)
    bad = tmp_path / "bad.toml"
    bad.write_text("engine = ")
    assert "is not valid TOML" in run("serve", "--config", str(bad), status=2)
    bad.write_text("engin = 'memory'")
    assert "sets engin; the options are" in run("serve", "--config", str(bad), status=2)


@pytest.mark.parametrize(
    "name", ["login-timeout", "max-scan-life", "snapshot-idle", "send-timeout", "drain-timeout", "switch-interval"]
)
def test_not_a_number_is_no_time(name: str) -> None:
    assert "'nan' is not a time" in run("serve", "--engine", "memory", f"--{name}", "nan", status=2)


@pytest.mark.parametrize("name", ["look-ahead", "window", "batch", "workers", "max-scans", "max-connections"])
def test_what_is_too_large_is_refused(name: str) -> None:
    message = one_line("serve", "--engine", "memory", f"--{name}", "999999999999999999999")
    assert f"{name} must be from 1 to " in message
    assert "got 999999999999999999999" in message


def test_one_server_a_data_directory(start, tmp_path) -> None:
    with start(str(tmp_path), "--listen", "tcp://127.0.0.1:0"):
        message = one_line("serve", str(tmp_path), "--listen", "tcp://127.0.0.1:0")
    assert f"{tmp_path} is in use by process" in message


def test_help_and_version() -> None:
    assert "TRIO_SPOOL_LISTEN" in run("serve", "--help")
    assert "1." in run("--version")
    for name in ("serve", "stat", "get", "set", "delete", "load", "incr", "flush", "keys"):
        assert name in run("--help")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_the_log_does_not_show_what_is_stored(format_: str) -> None:
    """The default traceback of structlog, with rich installed, shows local variables."""
    program = """
import structlog
from trio_spool.cli._logging import logging_to_stderr
def fail():
    value = "what a client" + " has stored"
    raise RuntimeError("a bug")
with logging_to_stderr("info", FORMAT):
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("trio_spool").exception("connection failed")
""".replace("FORMAT", repr(format_))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "RuntimeError: a bug" in done.stderr
    assert "what a client has stored" not in done.stderr
