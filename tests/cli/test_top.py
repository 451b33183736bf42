"""``trio-spool top``."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
import trio
from rich.cells import cell_len

from support.commands import one_line, run, run_json
from support.hostile import playing
from support.process import command
from trio_spool.cli._addresses import Address
from trio_spool.cli._errors import CliError
from trio_spool.cli._session import Server
from trio_spool.cli._top_latencies import latencies
from trio_spool.cli._top_readings import CONNECTIONS, GENERAL, SCANS, TASKS, TIMINGS, History, Rows
from trio_spool.cli._top_report import COMMANDS, report
from trio_spool.cli._top_screen import lines
from trio_spool.cli._top_watcher import Watcher
from trio_spool.mcbp import Opcode, Status, encode_response
from trio_spool.testing import running_server


def history(*readings: dict[str, dict[str, object]], seconds: float = 2.0) -> History:
    """Readings that are so far from each other."""
    result = History()
    for number, groups in enumerate(readings):
        for name, values in groups.items():
            texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
            result.add(name, Rows(number * seconds, texts))
    return result


def general(pid: int = 1, uptime: int = 100, **values: object) -> dict[str, dict[str, object]]:
    return {GENERAL: {"pid": pid, "uptime": uptime, "version": "1.0", **values}}


# Rates


def test_rates_are_differences() -> None:
    found = report("here", history(general(cmd_get=10, bytes_read=100), general(cmd_get=30, bytes_read=2**60)))
    assert found["rates"] == {"commands": 10.0, "bytes_read": round((2**60 - 100) / 2, 3), "cmd_get": 10.0}
    assert found["seconds"] == 2.0


def test_one_reading_has_no_rates() -> None:
    found = report("here", history(general(cmd_get=10)))
    assert (found["rates"], found["seconds"], found["restarted"]) == ({}, None, False)


def test_a_reset_is_no_negative_rate() -> None:
    found = report("here", history(general(cmd_get=1000), general(cmd_get=6)))
    assert (found["rates"]["cmd_get"], found["restarted"]) == (3.0, False)


@pytest.mark.parametrize("after", [{"pid": 2, "uptime": 101}, {"pid": 1, "uptime": 1}])
def test_a_restart_has_no_rates(after: dict[str, int]) -> None:
    connection = {"1": {"peer": "a", "bytes_read": 5, "bytes_written": 5, "commands": 1}}
    first = general(cmd_get=10) | {CONNECTIONS: connection, TIMINGS: {"get_1,2": 9}}
    second = general(**after, cmd_get=9000) | {CONNECTIONS: connection, TIMINGS: {"get_1,2": 9000}}
    found = report("here", history(first, second))
    assert (found["rates"], found["restarted"]) == ({}, True)
    assert found["connections"][0]["rates"] == {"bytes_read": None, "bytes_written": None, "commands": None}
    assert found["commands"]["get"]["rate"] is None


def test_latencies_are_those_between_the_readings() -> None:
    before = {"get_10,11": "1000", "get_500,504": "1", "set_7,8": "5"}
    now = {"get_10,11": "1001", "get_500,504": "100", "set_7,8": "5", "get_mean": "9"}
    assert latencies(before, now) == {"get": {"count": 100, "mean": 496, "p50": 501, "p99": 501}}
    # After a reset, all of it is new.
    assert latencies(before, {"get_10,11": "3"}) == {"get": {"count": 3, "mean": 10, "p50": 10, "p99": 10}}


def test_a_server_that_has_only_summaries() -> None:
    readings = [general() | {TIMINGS: {"get_count": count, "get_mean": 5, "get_p99": 9}} for count in (10, 30)]
    found = report("here", history(*readings))["commands"]
    assert found == {"get": {"mean": 5, "p50": None, "p99": 9, "rate": 10.0, "since": "reset"}}


def test_the_busiest_connections() -> None:
    def connections(*counts: tuple[int, int]) -> dict[str, object]:
        return {str(n): {"peer": f"p{n}", "bytes_read": b, "bytes_written": 0, "commands": c} for n, (b, c) in enumerate(counts)}

    both = history(
        general() | {CONNECTIONS: connections((1000, 0), (0, 0))},
        general() | {CONNECTIONS: connections((1002, 50), (10, 2), (90, 4))},
    )
    assert [each["peer"] for each in report("here", both)["connections"]] == ["p2", "p1", "p0"]
    assert report("here", both)["connections"][0]["rates"] == {"bytes_read": 45.0, "bytes_written": 0.0, "commands": 2.0}
    assert [each["peer"] for each in report("here", both, COMMANDS)["connections"]] == ["p0", "p2", "p1"]


# Any server

HOSTILE = "\x1b]0;x\x07\u202eé日本" * 20
ANYTHING = [None, True, -1, 10**400, 1e300, "9" * 500, HOSTILE, [], {}, {"a": HOSTILE}]


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_values_of_any_kind(value: object) -> None:
    """Nothing is raised, nothing is printed that a terminal would obey, and no line is too wide."""
    odd = {
        "peer": value,
        "agent": value,
        "bytes_read": value,
        "bytes_written": value,
        "commands": value,
        "held": value,
        "seconds": value,
    }
    names = ("bytes_read", "curr_connections", "uptime", "version", "get_hits", "lag", "depth", "open", "open_max")
    group = dict.fromkeys(names, value) | {"1": odd, HOSTILE: odd, "background:b:c": {"state": "working", "seconds": value}}
    groups = dict.fromkeys((GENERAL, TIMINGS, CONNECTIONS, TASKS, SCANS, "loop", "spool", "engine"), group)
    found = report("here", history(groups, groups))
    json.dumps(found, allow_nan=False)
    for width in (10, 40, 80, 200):
        for line in lines(found, width, 50, "bytes"):
            assert line.isprintable(), repr(line)
            assert cell_len(line) <= width


# Commands


def test_once(server) -> None:
    run("set", server.address, "k", "v")
    found = run_json("top", server.address, "--once", "--interval", "50ms")
    assert found["server"] == server.address
    assert found["rates"]["commands"] > 0
    assert found["commands"]["stat"]["rate"] > 0
    assert [each["agent"] for each in found["connections"]].count("trio-spool top") == 1
    assert (found["scans"]["open"], found["tasks"], found["missing"]) == (0, [], {})
    for columns in (40, 80, 200):
        shown = run("top", server.address, "--once", "-i", "50ms", env={"COLUMNS": str(columns)})
        assert all(len(line) <= columns for line in shown.splitlines())
        assert all(word in shown for word in ("commands/s", "COMMANDS", "p99", "CONNECTIONS, BY BYTES", "127.0.0.1:", "loop lag"))


def test_it_takes_a_terminal(server) -> None:
    assert "use --once, or --json" in run("top", server.address, status=2)


def test_a_user_who_may_only_read_statistics() -> None:
    users = {"ann": "pencil", "eve": ("pencil", "read"), "bob": ("pencil", "default:stats"), "sam": ("pencil", "stats")}
    options = {"env": {"TRIO_SPOOL_PASSWORD": "pencil"}}
    with running_server(thread=True, users=users) as server:
        words = ("top", server.address, "--once", "-i", "50ms")
        assert run_json(*words, "-u", "sam", **options)["missing"] == {}
        found = run_json(*words, "-u", "bob", **options)
        reason = "the user needs the role stats for every bucket"
        assert found["missing"] == dict.fromkeys((CONNECTIONS, TASKS, SCANS), reason)
        assert "connections" not in found
        assert f"not shown: connections: {reason}" in run(*words, "-u", "bob", env={**options["env"], "COLUMNS": "80"})
        assert "top needs a user with the role stats" in one_line(*words, "-u", "eve", **options)
        assert "use --username" in one_line(*words)


def test_a_server_that_has_only_general_statistics() -> None:
    rows = {"pid": "5", "cmd_get": "7", "curr_items": "3", "version": "1.6.9"}
    frames = [encode_response(Opcode.STAT, 0, 0, key=key.encode(), value=value.encode()) for key, value in rows.items()]
    with playing({Opcode.STAT: b"".join(frames) + encode_response(Opcode.STAT, 0, 0)}) as here:
        found = run_json("top", here, "--once", "-i", "10ms")
        assert (found["rates"]["cmd_get"], found["general"], found["commands"]) == (0.0, {"curr_items": 3}, {})
        assert "items 3" in run("top", here, "--once", "-i", "10ms", env={"COLUMNS": "80"})
    with playing({Opcode.STAT: encode_response(Opcode.STAT, Status.UNKNOWN_COMMAND, 0)}) as here:
        one_line("top", here, "--once", "-i", "10ms")


def test_a_server_that_does_not_answer() -> None:
    """``--once`` fails, and what goes on says so each time, and tries again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "for 0.1 seconds" in (
            said := one_line("top", f"127.0.0.1:{port}", "--once", "--timeout", "100ms").replace("within", "for")
        )
        assert "choose a longer --timeout" in said
        watcher = Watcher(Server(Address("127.0.0.1", port), None, None, False, None, None, None, 0.05), 0.01)
        failures: list[CliError | None] = []

        async def tell(failure: CliError | None) -> None:
            failures.append(failure)
            if len(failures) == 3:
                scope.cancel()

        async def watch() -> None:
            with scope:
                await watcher.run(tell)

        scope = trio.CancelScope()
        trio.run(watch)
        assert ["choose a longer --timeout" in str(failure) for failure in failures] == [True] * 3


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "connection refused" in one_line("top", f"127.0.0.1:{port}", "--json")


# The terminal


def read_until(terminal: int, word: bytes) -> bytes:
    output = b""
    while word not in output:
        assert select.select([terminal], [], [], 60)[0], output
        output += os.read(terminal, 65536)
    return output


@pytest.mark.parametrize(("keys", "status"), [(b"q", 0), (b"cq", 0), (b"\x03", 130), (None, 143)])
def test_on_a_terminal(server, keys: bytes | None, status: int) -> None:
    """It ends at a key, Ctrl-C, or a signal, and leaves the terminal as it was; a server that is gone does not end it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    words = command("top", server.address, "--interval", "50ms")
    with subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:  # fmt: skip
        read_until(ours, b"CONNECTIONS, BY BYTES")
        if keys is None:
            process.send_signal(signal.SIGTERM)
        else:
            for number in range(len(keys)):
                os.write(ours, keys[number : number + 1])
                if keys[number : number + 1] == b"c":
                    read_until(ours, b"CONNECTIONS, BY COMMANDS")
        read_until(ours, b"\x1b[?1049l")  # the end of the alternate screen
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.05)[0]:
                os.read(ours, 65536)
        assert process.wait(1) == status
        assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)
