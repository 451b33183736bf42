"""``trio-spool ping``."""

from __future__ import annotations

import json
import re
import socket
import threading
import time

import pytest

from support.commands import one_line, run, run_rows
from support.hostile import playing
from trio_spool.mcbp import Opcode, Status, encode_response
from trio_spool.testing import running_server


@pytest.fixture
def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer(server) -> None:
    assert re.fullmatch(rf"{server.address} answered in [\d.]+ [mu]?s\n", run("ping", server.address))
    assert run("ping", server.address, "-q") == ""
    ((name, where), (unit, seconds)) = run_rows("ping", server.address)[0].items()
    assert (name, where, unit) == ("server", server.address, "seconds")
    assert 0 < seconds < 60


def test_several_answers(server) -> None:
    *lines, last = run("ping", server.address, "--count", 3, "--interval", "0").splitlines()
    assert len(lines) == 3
    assert last.startswith("3 of 3 answered: ")
    assert len(run_rows("ping", server.address, "-c", 3, "-i", "0")) == 3
    assert run("ping", server.address, "-c", 3, "-i", "0", "-q") == ""


def test_nobody(nowhere: str) -> None:
    assert "connection refused" in one_line("ping", nowhere)
    assert one_line("ping", nowhere, "-q").startswith("Error: can't connect")
    *each, last = run("ping", nowhere, "-c", 2, "-i", 0, status=1).splitlines()
    assert len(each) == 2
    assert last == "Error: 2 of 2 questions were not answered"
    assert "did not answer within 50ms: can't connect" in one_line("ping", nowhere, "--wait", "50ms")


def test_one_of_two_is_answered() -> None:
    """The connection ends behind the first answer."""
    answers = {Opcode.NOOP: encode_response(Opcode.NOOP, 0, 0) + bytes(24)}
    with playing(answers) as here:
        shown = run("ping", here, "-c", 2, "-i", "100ms", "--json", status=1)
    assert [set(json.loads(line)) for line in shown.splitlines() if line.startswith("{")] == [
        {"server", "seconds"},
        {"server", "error"},
    ]


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        assert "sent nothing for 0.1 seconds" in one_line("ping", here, "--timeout", "100ms")
        assert "did not answer within 200ms" in one_line("ping", here, "--timeout", "50ms", "--wait", "200ms")
        assert "did not answer within 200ms" in one_line("ping", here, "--wait", "200ms")


def test_waiting_for_a_server(nowhere: str) -> None:
    """It begins to listen when the first attempt has failed, which the connection to the one before shows."""
    found: list[str] = []
    host, port = nowhere.split(":")
    with socket.create_server((host, int(port))) as listener:

        def turn_away() -> None:
            listener.accept()[0].close()
            listener.close()
            with running_server(thread=True, listen=[f"tcp://{nowhere}"]):
                asked.wait(60)

        asked = threading.Event()
        thread = threading.Thread(target=turn_away)
        thread.start()
        try:
            found.append(run("ping", nowhere, "--wait", "50s"))
        finally:
            asked.set()
            thread.join()
    assert "answered in" in found[0]


def test_waiting_does_not_cure_a_login() -> None:
    answers = {Opcode.NOOP: encode_response(Opcode.NOOP, Status.AUTH_ERROR, 0)}
    began = time.monotonic()
    with playing(answers) as here:
        assert "use --username" in one_line("ping", here, "--wait", "600s")
    assert time.monotonic() - began < 60
