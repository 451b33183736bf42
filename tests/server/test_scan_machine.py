"""Scans against a model: whatever is created, continued, cancelled, written, disconnected and expired, a scan returns one snapshot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from trio.testing import wait_all_tasks_blocked

from support.service import start_service
from trio_spool.mcbp import (
    CONTINUE,
    KEYS_EXTRAS,
    NEED_DATA,
    Opcode,
    Response,
    ResponseDecoder,
    ScanRequest,
    Status,
    encode_request,
    encode_scan_request,
    unpack_scan,
)
from trio_spool.server.shared import Shared

MAX_SCANS, MAX_OF_ONE = 5, 3
keys = st.binary(min_size=1, max_size=2)
bounds = st.binary(max_size=2)


class Connection:
    """A blocking connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._decoder = ResponseDecoder()

    def send(self, opcode: int, **kwargs: Any) -> None:
        self.socket.sendall(encode_request(opcode, **kwargs))

    def receive(self) -> Response:
        while (event := self._decoder.next_event()) is NEED_DATA:
            data = self.socket.recv(65536)
            assert data
            self._decoder.receive_data(data)
        return event

    def call(self, opcode: int, **kwargs: Any) -> Response:
        self.send(opcode, **kwargs)
        return self.receive()


class ServiceThread:
    """A service in a thread of its own."""

    def __init__(self, **values: Any) -> None:
        self.service: Shared
        self._ready = threading.Event()
        self._values = values
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._ready.wait(20)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            served = await start_service(nursery, **self._values)
            self.service, self.port, self._stop = served.inside, served.port, served.stop
            self._ready.set()

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the event loop, once it has nothing else to do."""

        async def quietly() -> Any:
            await wait_all_tasks_blocked()
            return function()

        return trio.from_thread.run(quietly, trio_token=self._token)

    def stop(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(20)
        assert not self._thread.is_alive()


@attrs.define(eq=False)
class Scan:
    """What the model knows of a scan."""

    id: bytes
    owner: int
    keys_only: bool
    rest: list[tuple[bytes, bytes, int]]
    open: bool = True


class ScanMachine(RuleBasedStateMachine):
    """Three connections to one service."""

    engine = "memory"
    scans = Bundle("scans")

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        options: dict[str, Any] = {"engine": self.engine}
        if self.engine == "lmdb":
            options |= {"data_dir": Path(self.directory.name) / "data", "fsync": "no"}
        self.thread = ServiceThread(
            max_scans=MAX_SCANS, max_scans_per_connection=MAX_OF_ONE, max_scan_life=1000, drain_timeout=1, **options
        )
        self.connections = [Connection(self.thread.port) for _ in range(3)]
        self.stored: dict[bytes, tuple[bytes, int]] = {}  # value and CAS
        self.open: list[Scan] = []

    def teardown(self) -> None:
        for connection in self.connections:
            connection.socket.close()
        self.thread.stop()
        assert list(self.thread.service.scans) == []
        self.directory.cleanup()

    def close(self, scan: Scan) -> None:
        scan.open = False
        self.open.remove(scan)

    @rule(number=st.integers(0, 2), key=keys, value=st.binary(max_size=40) | st.just(b"v" * 40_000))
    def store(self, number: int, key: bytes, value: bytes) -> None:
        response = self.connections[number].call(Opcode.SET, key=key, value=value, extras=bytes(8))
        assert response.status == 0
        self.stored[key] = value, response.cas

    @rule(number=st.integers(0, 2), some=st.sets(keys, min_size=20, max_size=60))
    def store_many(self, number: int, some: set[bytes]) -> None:
        for key in some:
            self.store(number, key, key)

    @rule(number=st.integers(0, 2), data=st.data())
    def delete(self, number: int, data: st.DataObject) -> None:
        if self.stored:
            key = data.draw(st.sampled_from(sorted(self.stored)))
            assert self.connections[number].call(Opcode.DELETE, key=key).status == 0
            del self.stored[key]

    @rule(number=st.integers(0, 2))
    def flush(self, number: int) -> None:
        assert self.connections[number].call(Opcode.FLUSH).status == 0
        self.stored.clear()

    @rule(target=scans, number=st.integers(0, 2), start=bounds, end=st.just(b"\xff\xff\xff") | bounds, keys_only=st.booleans())
    def create(self, number: int, start: bytes, end: bytes, keys_only: bool) -> Scan:
        request = ScanRequest(start=start, end=end, keys_only=keys_only)
        response = self.connections[number].call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(request))
        expected = [
            (key, b"" if keys_only else value, 0 if keys_only else cas)
            for key, (value, cas) in sorted(self.stored.items())
            if start <= key < end
        ]
        scan = Scan(response.value, number, keys_only, expected)
        of_one = sum(other.owner == number for other in self.open)
        if len(self.open) >= MAX_SCANS or of_one >= MAX_OF_ONE:
            assert response.status == Status.TEMPORARY_FAILURE
            scan.open = False
        elif not expected:
            assert response.status == Status.NOT_FOUND
            scan.open = False
        else:
            assert response.status == 0
            self.open.append(scan)
        if not scan.open:
            scan.id = bytes(16)
        return scan

    @rule(number=st.integers(0, 2), scan=scans, items=st.integers(0, 20), size=st.just(0) | st.integers(0, 100_000))
    def continue_(self, number: int, scan: Scan, items: int, size: int) -> None:
        connection = self.connections[number]
        connection.send(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan.id, items, 0, size))
        found = []
        while not (response := connection.receive()).status or response.value:
            if response.status in (0, Status.SCAN_MORE, Status.SCAN_COMPLETE):
                assert (response.extras == KEYS_EXTRAS) == scan.keys_only
                documents = unpack_scan(response.value, scan.keys_only)
                found += [(document.key, document.value, document.cas) for document in documents]
            if response.status:
                break
        if not scan.open:
            assert (response.status, found) == (Status.NOT_FOUND, [])
            return
        assert found == scan.rest[: len(found)]
        assert found, "at least one a continue"
        assert len(found) <= (items or 10**6)
        del scan.rest[: len(found)]
        assert response.status == (Status.SCAN_MORE if scan.rest else Status.SCAN_COMPLETE)
        if scan.rest:
            # One of the limits was reached.
            assert len(found) == items or (size and sum(len(key) + len(value) + 29 for key, value, _ in found) >= size)
        else:
            self.close(scan)

    @rule(number=st.integers(0, 2), scan=scans)
    def cancel(self, number: int, scan: Scan) -> None:
        response = self.connections[number].call(Opcode.RANGE_SCAN_CANCEL, extras=scan.id)
        assert response.status == (0 if scan.open else Status.NOT_FOUND)
        if scan.open:
            self.close(scan)

    @rule(scan=scans, half=st.booleans())
    def disconnect(self, scan: Scan, half: bool) -> None:
        """The owner of a scan leaves, perhaps in the middle of a continue of it."""
        connection = self.connections[scan.owner]
        if half:
            connection.send(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan.id, 0, 0, 0))
        connection.socket.close()
        service = self.thread.service
        while self.thread.call(lambda: len(service.connections)) > 2:
            pass
        self.connections[scan.owner] = Connection(self.thread.port)
        for other in list(self.open):
            if other.owner == scan.owner:
                self.close(other)

    @rule(scan=scans)
    def expire(self, scan: Scan) -> None:
        """Let its life be over."""
        service = self.thread.service

        def end() -> None:
            for other in service.scans:
                if other.id == scan.id:
                    other.began -= 10_000
            service.scans.end_old()

        self.thread.call(end)
        if scan.open:
            self.close(scan)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        service = self.thread.service
        assert self.thread.call(lambda: {scan.id for scan in service.scans}) == {scan.id for scan in self.open}


ScanMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestScanMachine = ScanMachine.TestCase


class LmdbScanMachine(ScanMachine):
    """The same, with snapshots of LMDB."""

    engine = "lmdb"


LmdbScanMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestLmdbScanMachine = LmdbScanMachine.TestCase
