"""backup, verify and restore, as they are typed, against a server and what can go wrong between."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from support.commands import run, run_json
from support.process import command
from trio_spool.cli._restore import restore_in
from trio_spool.client import ConnectionLostError, backup_server
from trio_spool.engine import Store, open_engine
from trio_spool.mcbp import Opcode, encode_request
from trio_spool.testing import Server, running_server


def fill(path: Path, count: int, size: int = 1000) -> None:
    with open_engine("lmdb", path, fsync="no", space_of=lambda key: key[:1]) as engine:
        for start in range(0, count, 1000):
            engine.execute([Store(b"\0k%06d" % n, os.urandom(size)) for n in range(start, min(count, start + 1000))])


def content(path: Path) -> dict[bytes, bytes]:
    with open_engine("lmdb", path) as engine, engine.snapshot() as snapshot:
        return {record[0][1:]: record[1] for record in snapshot.records()}


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """A data directory with 8000 items of 1000 bytes."""
    path = tmp_path_factory.mktemp("database") / "data"
    fill(path, 8000)
    return path


@pytest.fixture
def data(database: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(database, tmp_path / "data"))


@pytest.fixture
def served(data: Path) -> Iterator[Server]:
    """A server of that."""
    with running_server(data_dir=data) as server:
        yield server


def test_backup_verify_restore_serve(data, tmp_path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    with running_server(data_dir=data) as served:
        described = run_json("backup", served.address, backup)
    assert described["resumed_at"] == described["reconnections"] == 0
    assert {path.name for path in backup.iterdir()} == {"backup.json", "data.mdb", "trio-spool.json"}
    assert run_json("verify", backup)["items"] == 8000
    assert "8000 items" in run("restore", backup, restored)
    with running_server(data_dir=restored) as served:
        assert run_json("get", served.address, "k000001")
    assert content(restored) == content(data)
    with running_server(data_dir=backup) as served:  # it can be served as it is
        run("set", served.address, "k000001", "changed")
    assert "changed or damaged" in run("verify", backup, status=1)


def test_wrong_directories(served, tmp_path) -> None:
    backup = tmp_path / "backup"
    file, full = tmp_path / "file", tmp_path / "full"
    file.write_text("x")
    full.mkdir()
    (full / "mine").write_text("x")
    assert "not a directory" in run("backup", served.address, file, status=1)
    assert "not empty" in run("backup", served.address, full, status=1)
    assert (full / "mine").exists()
    assert "not a backup" in run("verify", full, status=1)
    assert "not a backup" in run("verify", tmp_path / "none", status=1)
    assert "not a backup" in run("restore", full, tmp_path / "new", status=1)
    run("backup", served.address, backup)
    assert "complete backup already" in run("backup", served.address, backup, status=1)
    assert "not empty" in run("restore", backup, full, status=1)
    assert "not a directory" in run("restore", backup, file, status=1)
    assert not (tmp_path / "new").exists()
    assert "connect" in run("backup", "127.0.0.1:1", tmp_path / "other", status=1)


def test_damage_is_found(served, tmp_path) -> None:
    backup = tmp_path / "backup"
    run("backup", served.address, backup)
    path = backup / "data.mdb"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert "SHA-512" in run("verify", backup, status=1)
    assert "SHA-512" in run("restore", backup, tmp_path / "restored", status=1)
    path.write_bytes(whole[:-1])
    assert "bytes instead of" in run("verify", backup, status=1)
    path.unlink()
    assert "is missing" in run("verify", backup, status=1)
    assert list((tmp_path / "restored").iterdir()) == []


def test_a_damaged_manifest_is_said_to_be_one(served, tmp_path) -> None:
    backup = tmp_path / "backup"
    run("backup", served.address, backup)
    path = backup / "backup.json"
    manifest = json.loads(path.read_text())
    marker = [file for file in manifest["files"] if file["path"] == "trio-spool.json"]
    damaged = [b"", b"{", b"\xff", b"[" * 100_000, b'{"uuid": "u", "files": [1e999]}']
    damaged += [json.dumps({**manifest, "files": files}).encode() for files in ({}, [], {"data.mdb": 1}, ["data.mdb"], None)]
    damaged.append(json.dumps({**manifest, "files": [{**marker[0], "size": float("inf")}]}).encode())
    for content in damaged:
        path.write_bytes(content)
        for words in (["verify", backup], ["restore", backup, tmp_path / "restored"]):
            output = run(*words, status=1)
            assert output.startswith(f"Error: {path} is damaged"), content[:80]
            assert "back up again" in output
            assert "remove" not in output  # the database is as it was
    path.write_text(json.dumps({**manifest, "files": marker}))
    assert f"the backup in {backup} lacks data.mdb; make another backup" in run("verify", backup, status=1)
    assert not (tmp_path / "restored").exists()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow above a size: writing fails then, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_can_not_be_read_or_written_is_named(data, tmp_path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    with running_server(data_dir=data) as served:
        run("backup", served.address, backup)
    assert "can't write to /proc/x: no such file or directory" in run("restore", backup, "/proc/x", status=1)
    with files_of_at_most(0):
        assert f"can't write to the data directory {restored}" in run("restore", backup, restored, status=1)
    with files_of_at_most(100_000):
        assert f"can't write to {restored}: file too large" in run("restore", backup, restored, status=1)
    assert list(restored.iterdir()) == []
    for name in ("data.mdb", "backup.json"):
        (backup / name).unlink()
        (backup / name).mkdir()
        assert f"can't read {backup / name}: is a directory" in run("verify", backup, status=1)
        assert f"can't read {backup / name}: is a directory" in run("restore", backup, restored, status=1)


def test_a_backup_that_failed_early_leaves_nothing(start, tmp_path) -> None:
    nobody = "127.0.0.1:1"
    run("backup", nobody, tmp_path / "a" / "b", status=1)
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    run("backup", nobody, tmp_path / "mine" / "b", status=1)
    run("backup", nobody, tmp_path / "mine", status=1)
    assert list((tmp_path / "mine").iterdir()) == []

    # The server is another process, whose files are not limited.
    with start("--listen", "tcp://127.0.0.1:0", str(tmp_path / "data")) as process, files_of_at_most(0):
        assert "file too large" in run("backup", process.address, tmp_path / "full", status=1)
    assert not (tmp_path / "full").exists()


def test_an_interrupted_restore_is_done_again(served, tmp_path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    run("backup", served.address, backup)
    (restored / ".restoring").mkdir(parents=True)
    (restored / "data.mdb").write_bytes(b"half")
    run("restore", backup, restored)
    assert len(content(restored)) == 8000
    assert not (restored / ".restoring").exists()


def test_a_restore_is_no_data_directory_before_its_end(data, tmp_path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    with running_server(data_dir=data) as served:
        run("backup", served.address, backup)
    moved: list[str] = []

    def replace(source: Path, target: Path) -> None:
        if moved:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        moved.append(target.name)
        source.replace(target)

    with pytest.raises(OSError):
        restore_in(backup, restored, True, replace)
    assert moved == ["data.mdb"]
    assert "has no trio-spool.json" in run("serve", restored, "--listen", "tcp://127.0.0.1:0", status=1)


# Bytes of the command's first connection, in which it asks for the names of the buckets: no limit.
LISTING = 1 << 60


class Proxy:
    """Passes bytes on, until so many have come from the server; then it cuts the connection, or stops passing any."""

    def __init__(self, port: int, limits: list[int], stall: bool = False) -> None:
        self._server = port
        self._limits = limits
        self._stall = stall
        self.stalled = threading.Event()
        self._opened: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            limit = self._limits.pop(0) if self._limits else 1 << 60
            server = socket.create_connection(("127.0.0.1", self._server))
            self._opened += [client, server]
            self._start(self._pass, client, server, 1 << 60)
            self._start(self._pass, server, client, limit)

    def _pass(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        try:
            while limit > 0 and (data := source.recv(min(65536, limit))):
                sink.sendall(data)
                limit -= len(data)
            if limit <= 0 and self._stall:
                self.stalled.set()
                return
        except OSError:
            pass
        for end in (source, sink):
            _shut_down(end)

    def close(self) -> None:
        _shut_down(self._listener)
        self._threads[0].join()
        for end in self._opened:
            _shut_down(end)
        for thread in self._threads:
            thread.join()
        for end in [self._listener, *self._opened]:
            end.close()


def _shut_down(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def proxied(port: int, limits: list[int], stall: bool = False) -> Iterator[Proxy]:
    proxy = Proxy(port, limits, stall)
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_broken_connection_is_made_again(served, tmp_path) -> None:
    backup = tmp_path / "backup"
    with proxied(served.port, [LISTING, 5_000_000, 100, 4_500_000]) as proxy:
        described = run_json("backup", f"127.0.0.1:{proxy.port}", backup)
    assert described["reconnections"] == 3
    run("verify", backup)
    # It did not begin anew: the snapshot was prepared once.
    snapshots = run_json("stat", served.address, "snapshots")
    assert (snapshots["prepared"], snapshots["kept"]) == (1, 0)


def test_a_server_that_stays_away_is_given_up(served, tmp_path) -> None:
    with proxied(served.port, [5_000_000] + [100] * 20) as proxy:
        back_up = partial(backup_server, "127.0.0.1", proxy.port, tmp_path / "backup", retry_seconds=0.01)
        with pytest.raises(ConnectionLostError, match="closed the connection"):
            trio.run(back_up)
    assert run_json("backup", served.address, tmp_path / "backup")["resumed_at"] >= 4_000_000
    run("verify", tmp_path / "backup")


def kill_half_way(served: Server, backup: Path, number: int) -> tuple[int, str]:
    with proxied(served.port, [LISTING, 6_000_000], stall=True) as proxy:
        arguments = command("backup", f"127.0.0.1:{proxy.port}", backup)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert proxy.stalled.wait(30)
            while not (backup / "data.mdb.partial").exists() or (backup / "data.mdb.partial").stat().st_size < 4_000_000:
                assert process.poll() is None
            process.send_signal(number)
            _, errors = process.communicate(timeout=100)  # it first waits for what it has told the disk to keep
            return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_after_being_ended(served, tmp_path, number: int) -> None:
    backup = tmp_path / "backup"
    code, errors = kill_half_way(served, backup, number)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if number == signal.SIGINT:
        assert errors.startswith("Error: interrupted; run the command again to continue")
        assert len(errors.splitlines()) == 1
    assert "not complete" in run("verify", backup, status=1)
    assert "has no trio-spool.json" in run("serve", backup, "--listen", "tcp://127.0.0.1:0", status=1)
    described = run_json("backup", served.address, backup)
    assert described["resumed_at"] == 4 * 1024 * 1024
    assert run_json("verify", backup)["items"] == 8000


def test_it_begins_anew_if_the_server_has_not_the_snapshot_any_more(data, tmp_path) -> None:
    backup = tmp_path / "backup"
    with running_server(data_dir=data) as served:
        kill_half_way(served, backup, signal.SIGKILL)
    with running_server(data_dir=data) as served:
        described = run_json("backup", served.address, backup)
    assert described["resumed_at"] == 0
    assert run_json("verify", backup)["items"] == 8000


def test_damaged_leftovers_are_found(served, tmp_path) -> None:
    backup = tmp_path / "backup"
    kill_half_way(served, backup, signal.SIGKILL)
    partial = backup / "data.mdb.partial"
    partial.write_bytes(bytes(partial.stat().st_size))
    assert "its SHA-512 differs" in run("backup", served.address, backup, status=1)
    assert run_json("backup", served.address, backup)["resumed_at"] == 0
    run("verify", backup)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "backup.json.partial").write_text("{}")
    assert "back up again" in run("backup", served.address, tmp_path / "other", status=1)


def test_a_backup_during_a_write_load_is_a_prefix_of_its_history(served, tmp_path) -> None:
    """Each SET is sent when the one before is acknowledged, so that what is there tells when it was copied."""
    acknowledged = 0
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        nonlocal acknowledged
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            while not stop.is_set():
                key = b"w%08d" % acknowledged
                connection.sendall(encode_request(Opcode.SET, key=key, value=key, extras=bytes(8)))
                reply = b""
                while len(reply) < 24:
                    reply += connection.recv(24)
                acknowledged += 1
                if acknowledged == 200:
                    written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(30)
        for number in range(3):
            before = acknowledged
            run("backup", served.address, tmp_path / f"backup{number}")
            after = acknowledged
            run("verify", tmp_path / f"backup{number}")
            found = content(tmp_path / f"backup{number}")
            history = sorted(key for key in found if key.startswith(b"w"))
            assert history == [b"w%08d" % n for n in range(len(history))]
            assert before <= len(history) <= after + 1
            assert len(found) == 8000 + len(history)
    finally:
        stop.set()
        thread.join()
