"""Metrics: real scrapes after real traffic, in both formats; they say what the statistics say; and none of it holds up the loop."""

from __future__ import annotations

import gzip
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from support.metrics import ask, port_of, scrape, values_of
from trio_spool._core import SpoolStatistics
from trio_spool._histogram import Histogram
from trio_spool.mcbp import Feature, Opcode, encode_request
from trio_spool.server.metrics import EXPOSED, LIBRARY, Type
from trio_spool.server.metrics._encoding import Format, encode_in_thread, negotiate
from trio_spool.server.metrics._samples import _BY_ROW, Source, _numbers, _seconds, gather
from trio_spool.server.metrics._table import LEFT_OUT
from trio_spool.server.shared._connections import Connections
from trio_spool.server.statistics import Kind, engine_rows

EXTRAS = bytes(8)
METRICS = {metric.name: metric for metrics in EXPOSED.values() for metric in metrics}
OPENMETRICS = "application/openmetrics-text"
# What Prometheus 2.42 and 3.1 send.
OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
)


@asynccontextmanager
async def observed(run_service: Any, **values: Any) -> AsyncIterator[Any]:
    async with run_service(metrics=("tcp://127.0.0.1:0",), **values) as service:
        yield service


async def traffic(raw: Any) -> None:
    """Make every kind of thing happen once."""
    await raw.hello(Feature.JSON)
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS, value=b"{}")
    await raw.call(Opcode.GET, key=b"k")
    await raw.call(Opcode.GET, key=b"none")
    created = await raw.call(Opcode.RANGE_SCAN_CREATE, datatype=1, value=b'{"range":{"start":"","end":"/w=="}}')
    await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=created.value + bytes(12))
    await raw.call(Opcode.SASL_AUTH, key=b"NONE", value=b"x")
    await raw.stat(b"keys")


@pytest.mark.parametrize("engine", ["lmdb", "memory"])
async def test_every_metric_is_there_after_traffic(run_service, tmp_path, engine: str) -> None:
    values = {"data_dir": tmp_path / "data"} if engine == "lmdb" else {}
    async with observed(run_service, **values) as service, service.connect() as raw:
        await traffic(raw)
        service.inside.incidents.report("something")
        service.inside.lag.note(0.01)
        families = {family.name: family for family in parse_text((await ask(port_of(service), "/metrics")).body.decode())}
        missing = {"data_free_bytes"} if engine == "memory" else set()
        for metric in METRICS.values():
            if metric.name in missing:
                continue
            family = families.pop(f"trio_spool_{metric.name}")
            assert family.type == metric.type.value, metric
            assert family.documentation == metric.help
            assert family.samples, metric
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(metric.labels), sample
        assert {sample.name for family in families.values() for sample in family.samples} <= set(LIBRARY)


@pytest.mark.parametrize("accept", OF_PROMETHEUS)
async def test_both_formats_say_the_same(run_service, accept: str) -> None:
    async with observed(run_service) as service, service.connect() as raw:
        await traffic(raw)
        shared = service.inside
        samples = await gather(shared, trio.CapacityLimiter(1))
        text, open_ = (encode_in_thread(samples, each, lambda seconds: None).decode() for each in Format)
        assert open_.endswith("# EOF\n") and open_.count("# EOF") == 1
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse_openmetrics(open_)
            for sample in family.samples
            if family.name.startswith("trio_spool")
        }
        assert found == {name: value for name, value in values_of(text).items() if name[0].startswith("trio_spool")}
        answer = await ask(port_of(service), "/metrics", f"Accept: {accept}")
        assert answer.headers["content-type"] == Format.OPENMETRICS.value
        assert list(parse_openmetrics(answer.body.decode()))
        compressed = await ask(port_of(service), "/metrics", "Accept-Encoding: gzip")
        assert compressed.headers["content-encoding"] == "gzip"
        assert len(compressed.body) * 4 < len(gzip.decompress(compressed.body))
        assert compressed.headers["content-type"] == Format.TEXT.value


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/plain; version=0.0.4", Format.TEXT),
        (OPENMETRICS, Format.OPENMETRICS),
        (f"{OPENMETRICS}; version=0.0.1", Format.TEXT),
        (f"{OPENMETRICS};version=1.0.0;q=0.1, text/plain;q=0.2", Format.TEXT),
        (f"{OPENMETRICS};version=1.0.0;q=0", Format.TEXT),
        (f"{OPENMETRICS};q=nan", Format.TEXT),
        (f"{OPENMETRICS};q=x;;=;version", Format.TEXT),
        (f"{OPENMETRICS.upper()};VERSION=1.0.0", Format.OPENMETRICS),
        (OF_PROMETHEUS[0], Format.OPENMETRICS),
        (OF_PROMETHEUS[1], Format.OPENMETRICS),
        (",;,=;q=" * 100, Format.TEXT),
    ],
)
def test_negotiation(accept: str, wanted: Format) -> None:
    assert negotiate(accept) is wanted


async def test_metrics_are_those_of_the_statistics(run_service) -> None:
    async with observed(run_service) as service, service.connect() as raw:
        await traffic(raw)
        found = await scrape(port_of(service))
        requests = await raw.stat(b"requests")
        for command, status, count in (("get", "ok", 1), ("get", "not_found", 1), ("sasl_auth", "auth_error", 1)):
            assert found["trio_spool_requests_total", (("command", command), ("status", status))] == count
            assert requests[f"{command}:{status}".encode()] == b"%d" % count
        general = await raw.stat()
        for name, row in (("connections", b"curr_connections"), ("stores_total", b"total_items"), ("logins_total", b"auth_cmds")):
            assert found[f"trio_spool_{name}", ()] == float(general[row])
        assert found["trio_spool_lookups_total", (("kind", "get"), ("result", "hit"))] == 1
        assert found["trio_spool_bucket_items", (("bucket", "default"),)] == 1
        assert found["trio_spool_request_duration_seconds_count", (("command", "get"),)] == 2
        assert found["trio_spool_bucket_commit_seconds_count", (("bucket", "default"),)] == 1
        assert found["trio_spool_stage", (("stage", "serving"),)] == 1
        assert sum(value for (name, _), value in found.items() if name == "trio_spool_stage") == 1


async def test_every_row_that_is_counted_is_a_metric(service) -> None:
    """Or it stands in the list of those that are none, with the reason."""
    shared = service.inside
    bucket = shared.buckets.default
    from trio_spool.server.statistics import GROUPS, service_rows

    made = {"bytes_written", *(f"spool_{name}" for name in SpoolStatistics.__slots__)}
    spools = {
        "fragments",
        "bytes",
        "batches",
        "wakeups",
        "turns",
        "blocked_seconds",
        "high_water",
        "buffered",
        "producers_overdue",
        "depth",
    }
    spools |= {"waited_seconds", "held_seconds"}
    groups = {
        Source.GENERAL: service_rows(shared, 0),
        Source.SPOOL: list(GROUPS["spool"].run(shared, bucket, "")),
        Source.RANGE_SCANS: list(GROUPS["range-scans"].run(shared, bucket, "")),
        Source.SNAPSHOTS: list(GROUPS["snapshots"].run(shared, bucket, "")),
        Source.ENGINE: await trio.to_thread.run_sync(lambda: list(engine_rows(bucket))),
    }
    for source, rows in groups.items():
        counted = {row.name for row in rows if row.kind is not Kind.INFO}
        assert counted >= set(_BY_ROW[source]), "a metric of a row that does not exist"
        counted -= {name for name in counted if name.startswith(("commit_", "group_"))}  # of the histograms
        assert counted - set(_BY_ROW[source]) - set(LEFT_OUT) - (spools if source is Source.SPOOL else made) == set(), source
    assert all(METRICS)


async def test_deleted_buckets_leave_and_others_have_their_own(run_service, tmp_path) -> None:
    async with observed(run_service, data_dir=tmp_path / "data") as service, service.connect() as raw:
        await raw.call(Opcode.CREATE_BUCKET, key=b"other")
        found = await scrape(port_of(service))
        assert found["trio_spool_bucket_items", (("bucket", "other"),)] == 0
        assert found["trio_spool_buckets", (("state", "usable"),)] == 2
        await raw.call(Opcode.DELETE_BUCKET, key=b"other")
        assert ("trio_spool_bucket_items", (("bucket", "other"),)) not in await scrape(port_of(service))


async def test_many_scrapers_share_what_is_gathered(run_service) -> None:
    async with observed(run_service) as service:
        before = (await scrape(port_of(service)))["trio_spool_scrapes_total", ()]
        answers = []

        async def one() -> None:
            answers.append(await ask(port_of(service), "/metrics"))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(one)
        assert {answer.status for answer in answers} == {200}
        after = (await scrape(port_of(service)))["trio_spool_scrapes_total", ()]
        assert after - before < 30
        # What one gets was gathered after it had asked: a scrape on its own is a new one.
        assert (await scrape(port_of(service)))["trio_spool_scrapes_total", ()] == after + 1


class Busy:
    """A connection that has written ten bytes; a look at it may make something happen."""

    def __init__(self, number: int, seen: Callable[[], object] = lambda: None) -> None:
        self.number = number
        self.seen = seen
        self.cause = None

    def bytes_written(self) -> int:
        return 10

    def spool_statistics(self) -> SpoolStatistics:
        return SpoolStatistics(bytes=10, turns=1)

    def counted(self) -> tuple[int, SpoolStatistics]:
        self.seen()
        return self.bytes_written(), self.spool_statistics()

    def held(self) -> int:
        return 1

    def spooled(self) -> int:
        return 1

    def jobs(self) -> list[Any]:
        return []


async def test_a_connection_that_ends_during_a_look_is_counted_once() -> None:
    connections = Connections()

    def end_half() -> None:
        members[149].seen = lambda: None
        for each in members[::2]:
            connections.remove(each)
        connections.add(Busy(1000))

    members = [Busy(number) for number in range(1, 201)]
    members[149].seen = end_half
    for each in members:
        connections.add(each)
    total = await connections.total()
    assert total.written == total.spools.bytes == 2000
    assert (await connections.total()).written == 2010


def test_histograms_have_exact_counts_at_their_limits() -> None:
    times, sizes = Histogram(), Histogram()
    for value in (31, 32, 1000, 10**8):
        times.record(value)
    for value in (1, 2, 3, 4, 127, 128, 129):
        sizes.record(value)
    buckets = dict(_seconds(times.read()).buckets)
    assert (buckets["3.2e-05"], buckets["6.4e-05"], buckets["0.001024"], buckets["+Inf"]) == (1, 2, 3, 4)
    assert _seconds(times.read()).sum == pytest.approx((31 + 32 + 1000 + 10**8) * 1e-6)
    buckets = dict(_numbers(sizes.read()).buckets)
    assert (buckets["1.0"], buckets["3.0"], buckets["127.0"], buckets["255.0"], buckets["+Inf"]) == (1, 3, 5, 7, 7)
    assert list(map(float, buckets)) == sorted(map(float, buckets))
    assert math.isinf(float(list(buckets)[-1]))


def test_names_are_as_prometheus_wants_them() -> None:
    for metric in METRICS.values():
        assert metric.type is Type.HISTOGRAM or not metric.name.endswith(("_bucket", "_count", "_sum", "_total"))
        assert metric.help.endswith(".")
        assert not set(metric.labels) & {"le", "job", "instance", "quantile"}


async def test_hostile_names_do_not_make_labels(run_service) -> None:
    """Whatever a client sends, the labels are names of the server's."""
    async with observed(run_service) as service, service.connect() as raw:
        await raw.send(
            *(encode_request(opcode, key=b'"}\n\\') for opcode in range(256) if opcode not in (Opcode.QUIT, Opcode.QUITQ))
        )
        await raw.stream.receive_some(1)
        found = await scrape(port_of(service))
        commands = {dict(labels)["command"] for name, labels in found if name == "trio_spool_requests_total"}
        assert all(command.replace("_", "").isalnum() for command in commands)
        assert len(commands) < 100


async def test_what_is_counted_at_once_is_what_is_counted_apart(run_service) -> None:
    async with run_service() as service, service.connect() as raw:
        await raw.hello(Feature.UNORDERED_EXECUTION)
        await traffic(raw)
        (connection,) = service.inside.connections
        assert connection.counted() == (connection.bytes_written(), connection.spool_statistics())
        assert connection.counted()[1].turns > 0
    assert connection.counted() == (connection.bytes_written(), connection.spool_statistics())


async def test_what_a_client_that_does_not_read_keeps_waiting(run_service) -> None:
    async with observed(run_service) as service, service.connect() as raw, service.connect() as stalled:
        await raw.send(*(encode_request(Opcode.SETQ, key=b"a long key %06d" % number, extras=EXTRAS) for number in range(20_000)))
        await raw.call(Opcode.NOOP)
        assert (await scrape(port_of(service)))["trio_spool_spool_depth_bytes", ()] == 0
        await stalled.send(encode_request(Opcode.STAT, key=b"keys"))
        values: dict[Any, float] = {}
        with trio.fail_after(60):
            while values.get(("trio_spool_long_commands_running", (("state", "waiting"),))) != 1:
                values = await scrape(port_of(service))
        assert 0 < values["trio_spool_spool_depth_bytes", ()] <= values["trio_spool_held_bytes", ()]
        rows = await raw.stat(b"spool")
        assert 0 < int(rows[b"depth"]) <= int(rows[b"buffered"])
