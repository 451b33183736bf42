"""A planned stop under load: every stream and every scan that is open comes to its end, whole, and then the server does."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from support.process import running
from support.soaking import Wire, scaled
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request, unpack_scan

STREAMS = 100
SCANS = 20
DOCUMENTS = scaled(2_000, 20_000)
STEP = DOCUMENTS // 10  # documents of a continue


def fill(port: int) -> set[bytes]:
    """Store documents, and return their keys."""
    keys = [b"key%06d" % number for number in range(DOCUMENTS)]
    with Wire(port) as wire:
        for key in keys:
            wire.send(encode_request(Opcode.SETQ, key=key, extras=bytes(8), value=b"v" * 200))
        assert wire.call(Opcode.NOOP).status == 0
    return set(keys)


class Client(threading.Thread):
    """A client of which the first part of the work is done when it is made."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.wire = Wire(port)
        self.keys: set[bytes] = set()
        self.error: BaseException | None = None
        self.begin()

    def begin(self) -> None:
        """Do the first part of the work."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do the rest."""
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.finish()
        except BaseException as exc:
            self.error = exc
        finally:
            self.wire.socket.close()


class Stream(Client):
    """All keys, of which the first have been received."""

    def begin(self) -> None:
        self.wire.send(encode_request(Opcode.STAT, key=b"keys"))
        self.keys.add(self.wire.receive().key)

    def finish(self) -> None:
        while (row := self.wire.receive()).key:
            self.keys.add(row.key)
        assert row.status == 0


class Scan(Client):
    """All documents, of which the first continue has been answered."""

    def begin(self) -> None:
        value = encode_scan_request(ScanRequest(keys_only=True))
        reply = self.wire.call(Opcode.RANGE_SCAN_CREATE, value=value)
        assert reply.status == Status.OK, reply
        self._id = reply.value
        assert not self._step()

    def _step(self) -> bool:
        extras = CONTINUE.pack(self._id, STEP, 0, 0)
        self.wire.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=extras))
        while True:
            reply = self.wire.receive()
            assert reply.status in (Status.OK, Status.SCAN_MORE, Status.SCAN_COMPLETE), reply
            self.keys.update(document.key for document in unpack_scan(reply.value, keys_only=True))
            if reply.status != Status.OK:
                return reply.status == Status.SCAN_COMPLETE

    def finish(self) -> None:
        while not self._step():
            pass


@pytest.mark.timeout(scaled(120, 600))
def test_a_stop_lets_streams_and_scans_end(tmp_path: Path) -> None:
    options = ("--fsync", "no", "--drain-timeout", "60")
    with running("--listen", "tcp://127.0.0.1:0", *options, str(tmp_path / "data")) as server:
        keys = fill(server.port)
        clients = [Stream(server.port) for _ in range(STREAMS)] + [Scan(server.port) for _ in range(SCANS)]
        server.popen.send_signal(signal.SIGTERM)
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        _, log = server.popen.communicate(timeout=60)
    assert [client.error for client in clients if client.error is not None] == []
    assert {frozenset(client.keys) for client in clients} == {frozenset(keys)}
    assert server.popen.returncode == 0
    assert "Traceback" not in log
