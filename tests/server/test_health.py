"""Health and readiness: what probes are told of a service that starts, works, waits for its disk, drains, and closes."""

from __future__ import annotations

import socket
import subprocess
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from support.engines import Hooks
from support.metrics import ask, port_of, visiting
from support.process import command
from support.service import start_service
from trio_spool.engine import EngineFailedError
from trio_spool.mcbp import Opcode, encode_request
from trio_spool.server import Settings, SettingsError
from trio_spool.server.metrics._health import unhealthy

LOCAL = ("tcp://127.0.0.1:0",)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_service_that_serves(run_service) -> None:
    async with run_service(metrics=LOCAL) as service:
        assert service.addresses[-1].endswith(" (metrics)")
        for path, told in (("/healthz", b"healthy\n"), ("/readyz", b"ready\n")):
            answer = await ask(port_of(service), path)
            assert (answer.status, answer.body) == (200, told)
            head = await ask(port_of(service), path, method="HEAD")
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(told)))


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/healthz/x", "//metrics"])
async def test_other_paths(run_service, path: str) -> None:
    async with run_service(metrics=LOCAL) as service:
        answer = await ask(port_of(service), path)
        assert answer.status == 404
        assert answer.body == b"nothing is here; there are /metrics, /healthz, /readyz\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_other_methods(run_service, method: str, path: str) -> None:
    async with run_service(metrics=LOCAL) as service:
        answer = await ask(port_of(service), path, "Content-Length: 0", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_query_changes_nothing(run_service) -> None:
    async with run_service(metrics=LOCAL) as service:
        assert (await ask(port_of(service), "/metrics?name[]=up")).status == 200


async def test_a_service_that_starts(free_port: int) -> None:
    """The pages are there before the data are open."""
    hooks, opening, go_on = Hooks(), threading.Event(), threading.Event()

    def before_open() -> None:
        opening.set()
        assert go_on.wait(60)

    hooks.before_open = before_open
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            started: list[Any] = []

            async def start() -> None:
                metrics = (f"tcp://127.0.0.1:{free_port}",)
                started.append(await start_service(nursery, engine=hooks.kind(), metrics=metrics))

            nursery.start_soon(start)
            try:
                await trio.to_thread.run_sync(opening.wait)
                ready = await ask(free_port, "/readyz")
                assert (ready.status, ready.body) == (503, b"starting: the service does not accept connections yet\n")
                assert (await ask(free_port, "/healthz")).status == 200
                text = (await ask(free_port, "/metrics")).body
                assert b'trio_spool_stage{stage="starting"} 1.0' in text
            finally:
                go_on.set()
            while not started:
                await trio.sleep(0.001)
            assert (await ask(free_port, "/readyz")).status == 200
            started[0].stop.set()


async def test_a_service_that_drains(run_service) -> None:
    """A client that does not read its answer keeps the service from ending; the pages say so."""
    async with run_service(metrics=LOCAL, drain_timeout=60) as service, service.connect() as raw:
        port = port_of(service)
        await raw.send(*(encode_request(Opcode.SETQ, key=b"a long key %06d" % number, extras=bytes(8)) for number in range(20_000)))
        await raw.call(Opcode.NOOP)
        async with visiting(port) as kept:
            async with service.connect() as stalled:
                await stalled.send(encode_request(Opcode.STAT, key=b"keys"))
                while not any(connection.jobs() for connection in service.inside.connections):
                    await trio.sleep(0.001)
                service.stop.set()
                while not service.inside.life.draining:
                    await trio.sleep(0.001)
                answer = await kept.ask(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert answer.status == 503
                assert answer.body.startswith(b"draining: the service accepts no further connections, and ")
                assert (await ask(port, "/healthz")).status == 200
                assert b'trio_spool_stage{stage="draining"} 1.0' in (await ask(port, "/metrics")).body


async def test_a_disk_that_does_not_answer(run_service) -> None:
    """The group that the writer carries out has been going on for too long."""
    async with run_service(metrics=LOCAL) as service, service.connect() as raw:
        await raw.call(Opcode.SET, key=b"k", extras=bytes(8))
        writer: Any = service.inside.buckets.default.engine.writer
        writer._busy_since = 0.0  # as it is in the middle of a group; the clock is far beyond
        answer = await ask(port_of(service), "/healthz")
        assert answer.status == 503
        assert answer.body.startswith(b"the bucket default has not committed for ")
        writer._busy_since = None
        assert (await ask(port_of(service), "/healthz")).status == 200


def test_each_bucket_that_waits_is_named() -> None:
    def bucket(name: str, busy: float) -> Any:
        return SimpleNamespace(name=name, engine=SimpleNamespace(busy_seconds=busy))

    class Buckets(list):
        failure = None

    shared: Any = SimpleNamespace(
        buckets=Buckets([bucket("a", 11), bucket("b", 9.9), bucket("c", 12)]), tuning=SimpleNamespace(slow_write=10.0)
    )
    assert unhealthy(shared) == [
        "the bucket a has not committed for 11 seconds; 10 are too many",
        "the bucket c has not committed for 12 seconds; 10 are too many",
    ]
    shared.buckets.failure = EngineFailedError("the disk is gone")
    assert unhealthy(shared) == ["the storage has failed: the disk is gone"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metrics": "tcp://0.0.0.0:1"}, "metrics on tcp://0.0.0.0:1 could be read from other machines.*--metrics-public"),
        ({"metrics": "tcp://[::]:1"}, "could be read from other machines"),
        ({"metrics": "http://127.0.0.1:1"}, "an address is tcp://HOST:PORT"),
        ({"metrics": "tls://127.0.0.1:1"}, "metrics on tls://127.0.0.1:1 need a certificate and its key: give --tls-cert"),
        ({"metrics": "tcp://127.0.0.1:1", "listen": "tcp://127.0.0.1:1"}, "can't listen on tcp://127.0.0.1:1 twice"),
        ({"metrics_public": "yes"}, "metrics-public must be True or False"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**values)


def test_settings_that_are_taken() -> None:
    assert Settings().metrics == ()
    assert Settings(metrics="tcp://0.0.0.0:9464", metrics_public=True).metrics == ("tcp://0.0.0.0:9464",)
    assert Settings(metrics=("tcp://127.0.0.1:0", "unix:/tmp/m")).metrics_addresses[1].path == "/tmp/m"


def test_a_port_that_is_taken_keeps_the_service_from_starting(tmp_path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        words = command("serve", "--listen", "tcp://127.0.0.1:0", "--metrics", address, tmp_path / "data")
        run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert f"can't listen on {address}: it is in use by another program" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "data").exists()


def test_the_option_prints_the_chosen_port(start) -> None:
    with start("--listen", "tcp://127.0.0.1:0", "--metrics", "tcp://127.0.0.1:0", "--engine", "memory", listeners=2) as process:
        assert process.addresses[1].startswith("tcp://127.0.0.1:")
        assert trio.run(ask, int(process.addresses[1].rsplit(":", 1)[1]), "/readyz").status == 200
    with start(
        "--listen", "tcp://127.0.0.1:0", "--engine", "memory", listeners=2, env={"TRIO_SPOOL_METRICS": "tcp://127.0.0.1:0"}
    ) as process:
        assert trio.run(ask, int(process.addresses[1].rsplit(":", 1)[1]), "/healthz").status == 200
