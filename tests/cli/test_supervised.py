"""``trio-spool serve`` under a supervisor: what it says, its watchdog, and sockets that were opened for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from support.disk_faults import DiskFaults, How, build, environment
from support.process import Process, command
from support.supervising import Receiver, start_with_sockets
from trio_spool.mcbp import Opcode, encode_request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's; abstract sockets are, too")

LIMIT = 60
# Bytes of a response without a body.
HEADER = 24


@pytest.fixture
def receiver(tmp_path):
    with Receiver(f"@trio-spool-{os.getpid()}-{tmp_path.name}") as receiver:
        yield receiver


@contextmanager
def supervised(receiver, *arguments: str, **variables: str):
    process = Process(
        *arguments, "--listen", "tcp://127.0.0.1:0", env={"NOTIFY_SOCKET": receiver.address, **variables}
    )  # fmt: skip
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.communicate()


def answers(client: socket.socket) -> bool:
    """Whether a server answers: a NOOP."""
    client.sendall(encode_request(Opcode.NOOP))
    reply = b""
    while len(reply) < HEADER and (data := client.recv(HEADER - len(reply))):
        reply += data
    return len(reply) == HEADER


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


# News


def test_the_supervisor_is_told_of_each_stage(receiver) -> None:
    with supervised(receiver, "--engine", "memory") as process:
        assert receiver.receive() == {"STATUS": "Opening the data"}
        ready = receiver.receive()
        assert ready == {"READY": "1", "STATUS": f"Listening on {process.addresses[0]}"}
        connect(process.port).close()

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        process.popen.send_signal(signal.SIGHUP)
        reloading = receiver.receive()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert receiver.receive() == ready

        assert process.stop()[0] == 0
        assert receiver.receive()["STOPPING"] == "1"


def test_settings_that_cannot_be_read_again_end_the_reload_all_the_same(tmp_path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("max-connections = 10\n")
    with Receiver(tmp_path / "notify") as receiver:
        with supervised(receiver, "--engine", "memory", "--config", str(config)) as process:
            receiver.wait_for("READY")
            config.write_text("max-connections = ")
            process.popen.send_signal(signal.SIGHUP)
            assert receiver.receive()["RELOADING"] == "1"
            assert receiver.receive()["READY"] == "1"
            code, errors = process.stop()
    assert code == 0
    assert "the settings stay as they were" in errors


def test_a_supervisor_that_cannot_be_told_is_one_line() -> None:
    env = {"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "20000"}
    process = Process("--engine", "memory", "--listen", "tcp://127.0.0.1:0", env=env)
    with connect(process.port) as client:
        assert answers(client)
    code, errors = process.stop()
    assert code == 0
    assert len(errors.splitlines()) == 1
    assert "the supervisor can't be told" in errors and "vsock:2:1234" in errors


def test_children_are_not_told_of_the_supervisor(tmp_path) -> None:
    """The variables leave the environment of the process, which is what its children get."""
    script = "import os, sys; from trio_spool.server.supervision import find_supervisor; find_supervisor(os.environ); os.execvp('env', ['env'])"
    variables = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"), "1")
    run = subprocess.run(
        [command()[0], "-c", script], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT
    )
    assert "PATH=" in run.stdout
    assert not [line for line in run.stdout.splitlines() if line.partition("=")[0] in variables]


# The watchdog


def test_a_writer_that_hangs_starves_the_watchdog(tmp_path) -> None:
    """The event loop runs, and reads are answered; but a sync does not return, and no write is ever answered again."""
    library = build(tmp_path)
    faults = DiskFaults(tmp_path / "faults")
    with Receiver(tmp_path / "notify") as receiver:
        disk = {name: value for name, value in environment(library, faults).items() if name in ("LD_PRELOAD", "DISK_FAULTS")}
        with (
            supervised(receiver, str(tmp_path / "data"), WATCHDOG_USEC="400000", **disk) as process,
            connect(process.port) as client,
        ):
            assert answers(client)
            receiver.wait_for("READY")
            receiver.wait_for("WATCHDOG")
            faults.clear()
            faults.fail_from(0, How.HANG, 0)
            with connect(process.port) as writer:
                writer.sendall(encode_request(Opcode.SET, extras=bytes(8), key=b"k", value=b"v"))
                receiver.wait_for_silence(2)  # it was fed every 0.1 seconds
                assert answers(client)
            process.popen.kill()
            assert "the watchdog is not fed" in process.popen.communicate(timeout=LIMIT)[1]


HUNG = """
import os, signal, sys, threading
from trio_spool.cli import run_program
# Trio wakes the loop's thread for a signal; this handler runs in it, and blocks it.
signal.signal(signal.SIGUSR1, lambda *_: threading.Event().wait())
sys.argv[0] = "trio-spool"
run_program()
"""


def test_an_event_loop_that_hangs_starves_the_watchdog(tmp_path) -> None:
    with Receiver(tmp_path / "notify") as receiver:
        env = {**os.environ, "NOTIFY_SOCKET": receiver.address, "WATCHDOG_USEC": "100000"}
        words = [command()[0], "-c", HUNG, "serve", "--engine", "memory", "--listen", "tcp://127.0.0.1:0"]
        process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            receiver.wait_for("READY")
            receiver.wait_for("WATCHDOG")
            process.send_signal(signal.SIGUSR1)
            receiver.wait_for_silence(2)  # it was fed every 0.025 seconds
            assert process.poll() is None
        finally:
            process.kill()
            process.communicate()


def test_what_hangs_is_shown_when_the_supervisor_ends_it() -> None:
    """systemd sends SIGABRT to a server whose watchdog starves."""
    process = Process("--engine", "memory", "--listen", "tcp://127.0.0.1:0")
    code, errors = process.stop(signal.SIGABRT)
    assert code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in errors
    assert "trio/_core/_run.py" in errors  # where the event loop is
    assert "_submissions.py" in errors  # where the writer is


# Sockets


@pytest.fixture
def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def start():
    started = []

    def start(sockets, *arguments: str, **options):
        started.append(start_with_sockets(sockets, "--engine", "memory", *arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_socket_that_was_opened_takes_the_place_of_listen(tcp, start) -> None:
    port = tcp.getsockname()[1]
    with connect(port) as early:  # before there is a server
        process = start([tcp])
        assert answers(early)
    assert process.stdout.readline() == f"listening on tcp://127.0.0.1:{port}\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) == 0
    connect(port).close()  # the supervisor still listens


def test_a_unix_socket_stays_where_it_is(tmp_path, start) -> None:
    path = tmp_path / "spool.socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        path.chmod(0o640)
        listener.listen()
        process = start([listener], names="kv")
        assert process.stdout.readline() == f"listening on unix:{path}\n"
        client.connect(str(path))
        assert answers(client)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_socket_has_tls_if_an_address_with_its_port_has(tcp, start, authority) -> None:
    port = tcp.getsockname()[1]
    files = ("--tls-cert", str(authority.files["tls_cert"]), "--tls-key", str(authority.files["tls_key"]))
    with socket.create_server(("127.0.0.1", 0)) as plain:
        process = start([plain, tcp], *files, "--listen", f"tls://127.0.0.1:{port}", "--listen", "tcp://127.0.0.1:1")
        assert process.stdout.readline() == f"listening on tcp://127.0.0.1:{plain.getsockname()[1]}\n"
        assert process.stdout.readline() == f"listening on tls://127.0.0.1:{port}\n"
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        with context.wrap_socket(connect(port), server_hostname="127.0.0.1") as client:
            assert answers(client)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT)
    assert "addresses of --listen are not used" in errors and 'tcp://127.0.0.1:1"' in errors


def test_a_socket_that_others_can_reach_needs_users(start) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        process = start([listener])
        output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert not output
    assert "Traceback" not in errors
    assert f"tcp://0.0.0.0:{port} can be reached from other machines" in errors


def test_sockets_of_another_process_are_left_alone(tcp, start) -> None:
    process = start([tcp], "--listen", "tcp://127.0.0.1:0", env={"LISTEN_PID": "1"})
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    assert port != tcp.getsockname()[1]
    with connect(port) as client:
        assert answers(client)


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed")
def test_systemd_passes_its_sockets(tmp_path) -> None:
    """A real peer: it waits for the first client, and becomes the server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = tmp_path / "spool.socket"
    words = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", str(path), "--fdname=kv:local"]
    variables = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ]
    process = subprocess.Popen(
        [*words, *variables, *command("serve", "--engine", "memory")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr.readline().startswith("Listening on")
        assert process.stderr.readline().startswith("Listening on")
        with connect(port) as client:
            assert answers(client)
        assert process.stdout.readline() == f"listening on tcp://127.0.0.1:{port}\n"
        assert process.stdout.readline() == f"listening on unix:{path}\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert answers(client)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        assert path.is_socket()
    finally:
        process.kill()
        process.communicate()
