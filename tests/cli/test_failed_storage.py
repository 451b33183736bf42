"""``trio-spool serve`` whose storage fails: it ends, with a status and one line, so that a supervisor can start it again."""

from __future__ import annotations

import errno
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.disk_faults import DiskFaults, How, build, environment
from support.process import Process
from trio_spool.mcbp import NEED_DATA, Opcode, ResponseDecoder, Status, encode_request

FAILED = 74
LIMIT = 60


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("library"))


class Client:
    """Stores, one after the other, as long as it is answered."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self._decoder = ResponseDecoder()

    def send(self, opcode: int, **kwargs) -> None:
        self._socket.sendall(encode_request(opcode, **kwargs))

    def call(self, opcode: int, **kwargs) -> int | None:
        """Return the status of the reply; None if the connection was closed instead."""
        try:
            self.send(opcode, **kwargs)
            while (reply := self._decoder.next_event()) is NEED_DATA:
                data = self._socket.recv(65536)
                if not data:
                    return None
                self._decoder.receive_data(data)
        except ConnectionError:
            return None
        return reply.status

    def store(self, key: bytes) -> int | None:
        return self.call(Opcode.SET, key=key, value=b"v", extras=bytes(8))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connect():
    clients = []

    def connect(process):
        clients.append(Client(process.port))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def ended(process) -> list[str]:
    """Wait for the end of a server, and return what it has said, without the line of the log that repeats why it ends."""
    _, errors = process.popen.communicate(timeout=LIMIT)
    assert process.popen.returncode == FAILED
    assert "Traceback" not in errors
    stopped = [line for line in errors.splitlines() if "stopped" in line]
    assert len(stopped) <= 1
    return [line for line in errors.splitlines() if line not in stopped]


def store_until_the_end(client: Client) -> tuple[int, list[int]]:
    """Return how many stores were acknowledged, and the other answers."""
    acknowledged, others = 0, []
    while (status := client.store(b"k%06d" % acknowledged)) is not None:
        if status:
            others.append(status)
        else:
            assert not others, "acknowledged after it was refused"
            acknowledged += 1
    return acknowledged, others


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_a_disk_that_fails(start, connect, library, tmp_path, fsync: str) -> None:
    faults = DiskFaults(tmp_path / "faults")
    arguments = (str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", "--fsync", fsync)
    with start(*arguments, env=environment(library, faults)) as process:
        client = connect(process)
        assert client.store(b"before") == 0
        faults.fail_from(0, How.BEFORE, errno.EIO)
        acknowledged, others = store_until_the_end(client)
        lines = ended(process)
    assert acknowledged == 0
    assert others == sorted(others, reverse=True)  # first refused for now, then for good
    assert set(others) <= {Status.TEMPORARY_FAILURE, Status.INTERNAL}
    assert lines[-1].startswith("Error: ")
    assert sum(line.startswith("Error: ") for line in lines) == 1
    assert len(lines) <= 3  # and the beginning of it, and how often it was
    faults.clear()
    with start(*arguments) as process:
        client = connect(process)
        assert client.call(Opcode.GET, key=b"before") == 0
        assert client.store(b"after") == 0


def test_a_data_directory_that_is_renamed(start, connect, tmp_path) -> None:
    data = tmp_path / "data"
    with start(str(data), "--listen", "tcp://127.0.0.1:0", "--fsync", "no") as process:
        client = connect(process)
        assert client.store(b"before") == 0
        data.rename(tmp_path / "elsewhere")
        acknowledged, _ = store_until_the_end(client)
        (line,) = ended(process)
    assert str(data) in line and "renamed" in line
    (tmp_path / "elsewhere").rename(data)
    with start(str(data), "--listen", "tcp://127.0.0.1:0", "--fsync", "no") as process:
        client = connect(process)
        assert client.call(Opcode.GET, key=b"before") == 0
        for number in range(max(0, acknowledged - 100), acknowledged):
            assert client.call(Opcode.GET, key=b"k%06d" % number) == 0


def test_a_data_directory_that_is_removed_while_nobody_writes(start, connect, tmp_path) -> None:
    data = tmp_path / "data"
    with start(str(data), "--listen", "tcp://127.0.0.1:0") as process:
        client = connect(process)
        assert client.call(Opcode.NOOP) == 0
        shutil.rmtree(data)
        (line,) = ended(process)
        assert client.call(Opcode.NOOP) is None
    assert str(data) in line and "removed" in line
    assert not data.exists()


def test_a_disk_that_is_full_for_a_while(start, connect, library, tmp_path) -> None:
    """Refused as long as it is, and never a reason to end: one line."""
    faults = DiskFaults(tmp_path / "faults")
    with start(str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", env=environment(library, faults)) as process:
        client = connect(process)
        assert client.store(b"k") == 0
        faults.fail_from(0, How.BEFORE, errno.ENOSPC)
        assert {client.store(b"k") for _ in range(200)} == {Status.TEMPORARY_FAILURE}
        assert client.call(Opcode.GET, key=b"k") == 0
        faults.clear()
        assert client.store(b"k") == 0
        status, errors = process.stop()
    assert status == 0
    assert len(errors.splitlines()) == 2
    assert "No space left on device" in errors
    assert "times=200" in errors


def test_a_process_that_does_not_end_properly_is_ended() -> None:
    """A thread that waits for a disk can't be stopped."""
    script = """
import threading
from trio_spool.engine import EngineFailedError
from trio_spool.server._signals import end_soon
end_soon(EngineFailedError("the disk hangs"), 0.01)
threading.Event().wait(100)
"""
    process = subprocess.run([sys.executable, "-c", script], timeout=LIMIT, stderr=subprocess.PIPE)
    assert (process.returncode, process.stderr) == (FAILED, b"Error: the disk hangs\n")


def test_a_log_that_can_not_be_written(connect, library, tmp_path) -> None:
    """It may be on the disk that is full."""
    faults = DiskFaults(tmp_path / "faults")
    data = tmp_path / "data"
    with Path("/dev/full").open("w") as full:
        process = Process(str(data), "--listen", "tcp://127.0.0.1:0", env=environment(library, faults), stderr=full)
        try:
            client = connect(process)
            faults.fail_from(0, How.BEFORE, errno.ENOSPC)
            assert client.store(b"k") == Status.TEMPORARY_FAILURE
            faults.clear()
            assert client.store(b"k") == 0
            data.rename(tmp_path / "elsewhere")
            assert process.popen.wait(LIMIT) == FAILED
        finally:
            process.popen.kill()
            process.popen.wait()
            process.popen.stdout.close()


def test_a_disk_that_does_not_answer(start, connect, library, tmp_path) -> None:
    """Who writes waits, as nobody knows what will become of it. Reads go on, and a second signal ends the server."""
    faults = DiskFaults(tmp_path / "faults")
    with start(str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", env=environment(library, faults)) as process:
        client, writer = connect(process), connect(process)
        assert client.store(b"k") == 0
        faults.clear()
        faults.fail_from(0, How.HANG, 0)
        writer.send(Opcode.SET, key=b"k", value=b"w", extras=bytes(8))
        while not faults.calls:
            assert client.call(Opcode.GET, key=b"k") == 0
        assert client.call(Opcode.GET, key=b"k") == 0
        process.popen.send_signal(signal.SIGTERM)
        while client.call(Opcode.NOOP) is not None:
            pass  # until the signal has arrived: this client waits for nothing, and is disconnected
        process.popen.send_signal(signal.SIGTERM)
        lines = ended(process)
    assert lines[-1] == "Error: the storage did not close in 3 seconds after the second signal"
