"""What Couchbase's command-line tools make of the statistics: readers of their names and shapes, as strict as they are."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
import trio

from support.service import wait_until
from trio_spool.mcbp import Feature, Opcode, Status, encode_request

EXTRAS = bytes(8)
COLLECTIONS_JSON_XERROR = (Feature.COLLECTIONS, Feature.JSON, Feature.XERROR)
TASK_FIELDS = {
    "tid", "state", "name", "this", "bucket", "description", "priority", "waketime_ns", "total_runtime_ns", "last_starttime_ns",
    "previous_runtime_ns", "num_runs", "type",
}  # fmt: skip


def cbstats_histograms(rows: dict[bytes, bytes]) -> tuple[dict[str, list[tuple[int, int, int]]], dict[str, float]]:
    """Read a group of histograms as ``cbstats timings`` does: any other row ends it with an error."""
    data, means = defaultdict(list), {}
    for key, value in rows.items():
        words = key.decode().split("_")
        name = "_".join(words[:-1])
        if "mean" in words:
            means[name] = float(value)
            continue
        start, end = (int(word) for word in words[-1].split(","))
        data[name].append((start, end, int(value)))
    return data, means


@pytest.mark.parametrize("agent", [b"cbstats 7.6", b"something else"])
async def test_timings(service, raw, agent: bytes) -> None:
    features = COLLECTIONS_JSON_XERROR if agent == b"something else" else (*COLLECTIONS_JSON_XERROR, Feature.XATTR)
    value = b"".join(feature.to_bytes(2, "big") for feature in features)
    assert (await raw.call(Opcode.HELLO, key=agent, value=value)).status == 0
    for milliseconds in (1, 1, 5):
        service.inside.timings.record("sasl_auth", milliseconds / 1000, 1)
    data, means = cbstats_histograms(await raw.stat(b"timings"))
    assert sum(count for *_, count in data["sasl_auth"]) == 3
    assert [count for start, end, count in data["sasl_auth"] if start <= 1000 < end] == [2]
    assert [count for start, end, count in data["sasl_auth"] if start <= 5000 < end] == [1]
    assert means["sasl_auth"] == 2333
    assert set(data) == set(means)


async def test_timings_for_everybody_else(service, raw) -> None:
    service.inside.timings.record("get", 0.001, 4)
    for hello in (False, True):
        if hello:
            await raw.hello(Feature.XERROR)
        rows = await raw.stat(b"timings")
        assert (rows[b"get_count"], rows[b"get_p99"], rows[b"get_1000,1008"]) == (b"4", b"1000", b"4")
        summary = await raw.stat(b"timings summary")
        assert b"get_p50" in summary
        assert not any(b"," in name for name in summary)
        assert list(await raw.stat(b"timings histogram"))[:2] == [b"get_1000,1008", b"get_mean"]


async def test_details_of_vbuckets(run_service) -> None:
    """``cbvdiff`` adds up the items of all vbuckets."""
    async with run_service(vbuckets=4) as service, service.connect() as raw:
        for number in range(5):
            await raw.call(Opcode.SET, key=b"k%d" % number, extras=EXTRAS)
        rows = await raw.stat(b"vbucket-details")
        states = {name: value for name, value in rows.items() if b":" not in name}
        assert states == {b"vb_%d" % number: b"active" for number in range(4)}
        assert sum(int(value) for name, value in rows.items() if name.endswith(b":num_items")) == 5


async def test_tasks(service, raw) -> None:
    async with service.connect() as stalled:
        await raw.send(*(encode_request(Opcode.SETQ, key=b"a long key %06d" % number, extras=EXTRAS) for number in range(20_000)))
        await raw.call(Opcode.NOOP)
        await stalled.send(encode_request(Opcode.STAT, key=b"keys"))
        while not any(connection.jobs() for connection in service.inside.connections):
            await trio.sleep(0.001)
        rows = await raw.stat(b"tasks")
    for suffix in (b"", b":default"):
        now = int(rows[b"ep_tasks:cur_time" + suffix])
        tasks = json.loads(rows[b"ep_tasks:tasks" + suffix])
        assert all(set(task) >= TASK_FIELDS for task in tasks)
        assert {task["type"] for task in tasks} <= {"Reader", "Writer", "AuxIO", "NonIO"}
        (stat,) = [task for task in tasks if task["name"] == "stat"]
        assert (stat["state"], stat["bucket"], stat["description"]) == ("RUNNING", "default", "stat keys")
        assert 0 < stat["last_starttime_ns"] <= now
        (write,) = [task for task in tasks if task["name"] == "write"]
        assert write["num_runs"] == service.inside.buckets.default.engine.statistics().commits
        assert (write["state"] == "RUNNING") == (write["last_starttime_ns"] > 0)
        assert len({task["tid"] for task in tasks}) == len(tasks)


async def test_background_work(run_service, tmp_path) -> None:
    async with run_service(data_dir=tmp_path / "data", scrub_rate=1 << 30) as service, service.connect() as raw:
        await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)
        bucket = service.inside.buckets.default
        # The writer's thread answers before it rests.
        await wait_until(lambda: all(work.running_seconds is None for work in bucket.background()))
        rows = await raw.stat(b"tasks")
        described = {name.decode(): json.loads(value) for name, value in rows.items() if name.startswith(b"background:")}
        assert set(described) == {f"background:default:{name}" for name in ("write", "scrub", "sweep")}
        write = described["background:default:write"]
        assert (write["state"], write["runs"], write["failures"]) == ("resting", 1, 0)


async def test_work_that_goes_on_is_told_from_work_that_rests(service) -> None:
    bucket = service.inside.buckets.default
    with bucket._sweeps.running():
        (sweep,) = [work for work in bucket.background() if work.name == "sweep"]
        assert sweep.running_seconds is not None
    with pytest.raises(ValueError, match="broken"), bucket._sweeps.running():
        raise ValueError("broken")
    (sweep,) = [work for work in bucket.background() if work.name == "sweep"]
    assert (sweep.running_seconds, sweep.runs, sweep.failures) == (None, 1, 1)
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("asked", [b"key my key 0 ", b"key my key 0", b"key my key 0 _default._default"])
async def test_key(raw, asked: bytes) -> None:
    """The tools put a blank behind the vbucket, for a collection that may follow."""
    await raw.hello(Feature.JSON)
    cas = (await raw.call(Opcode.SET, key=b"my key", extras=b"\0\0\0\7" + (2**31).to_bytes(4, "big"), value=b"{}")).cas
    assert await raw.stat(asked) == {
        b"key_is_dirty": b"false",
        b"key_exptime": b"%d" % 2**31,
        b"key_datatype": b"json",
        b"key_flags": b"7",
        b"key_cas": b"%d" % cas,
        b"key_vb_state": b"active",
    }


@pytest.mark.parametrize("asked", [b"key", b"key ", b"key none 0 ", b"key k", b"key k 1", b"key k 0 no.collection"])
async def test_no_key(raw, asked: bytes) -> None:
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)
    assert (await raw.call(Opcode.STAT, key=asked)).status == Status.NOT_FOUND
    assert (await raw.call(Opcode.NOOP)).status == 0


@pytest.mark.parametrize("asked", [b"kvstore", b"kvstore "])
async def test_store(raw, asked: bytes) -> None:
    await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)
    rows = await raw.stat(asked)
    assert (rows[b"rw_0:backend_type"], rows[b"rw_0:commits"]) == (b"memory", b"1")
