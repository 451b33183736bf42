"""How long a client may take: to log in, to send a request, to do nothing, and to read what it has asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from support.users import ANN, PASSWORD, write_users
from trio_spool.mcbp import CONTINUE, Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)
SET = encode_request(Opcode.SET, key=b"key", value=b"v" * 1000, extras=EXTRAS, opaque=77)
# A value that is too large is refused when its beginning has arrived; the rest of it is skipped.
TOO_LARGE = encode_request(Opcode.SET, key=b"key", value=bytes(5000), extras=EXTRAS, opaque=78)


@pytest.fixture
def tuning(clock) -> Tuning:
    return Tuning(clock=clock, farewell=30, first_refusal=0.0)


async def look(service: Any) -> None:
    """Look at every connection, once all that was sent has arrived."""
    await wait_all_tasks_blocked(0.002)
    for connection in service.inside.connections:
        service.inside.timekeeper.look(connection)
    await wait_all_tasks_blocked(0.002)


async def after(service: Any, clock: Clock, seconds: float) -> None:
    """Let the clock go on, and look at every connection before and after."""
    await look(service)
    clock.now += seconds
    await look(service)


# One request


async def test_a_request_that_takes_too_long_is_answered(run_service, tuning, clock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with run_service(frame_timeout=10, tuning=tuning) as service, service.connect() as raw:
            await raw.send(SET[:500])
            await after(service, clock, 9)
            await raw.send(SET[500:600])  # a byte now and then does not help
            await after(service, clock, 2)
            reply = await raw.receive()
            assert (reply.opcode, reply.opaque, reply.status) == (Opcode.SET, 77, Status.TEMPORARY_FAILURE)
            assert reply.value == b"the request took more than 10 seconds"
            assert await raw.closed()
            assert service.inside.counters.frame_kicks == 1
    assert [entry["event"] for entry in logs] == ["a request did not arrive in time"]


async def test_the_answer_is_in_the_form_that_was_negotiated(run_service, tuning, clock) -> None:
    async with run_service(frame_timeout=10, tuning=tuning) as service, service.connect() as raw:
        await raw.hello(Feature.XERROR, Feature.JSON)
        await raw.send(SET[:500])
        await after(service, clock, 11)
        reply = await raw.receive()
        assert (reply.opaque, reply.status, reply.datatype) == (77, Status.TEMPORARY_FAILURE, 1)
        assert json.loads(reply.value)["error"]["context"] == "the request took more than 10 seconds"
        assert await raw.closed()


async def test_the_answer_arrives_although_the_client_goes_on_sending(run_service, tuning, clock) -> None:
    frame = encode_request(Opcode.SET, key=b"key", value=bytes(900_000), extras=EXTRAS, opaque=5)
    async with run_service(frame_timeout=10, tuning=tuning) as service, service.connect() as raw:
        await raw.send(frame[:1000])
        await after(service, clock, 11)
        for start in range(1000, 601_000, 100_000):
            await raw.send(frame[start : start + 100_000])
            await wait_all_tasks_blocked(0.002)
        reply = await raw.receive()
        assert (reply.opaque, reply.status) == (5, Status.TEMPORARY_FAILURE)


@pytest.mark.parametrize("sent", [SET[:1], SET[:23], TOO_LARGE[:1000]])
async def test_one_that_can_not_be_answered_or_was_is_closed(run_service, tuning, clock, sent: bytes) -> None:
    async with run_service(frame_timeout=10, tuning=tuning, max_item_size=2000) as service, service.connect() as raw:
        await raw.send(sent)
        if len(sent) > 24:
            assert (await raw.receive()).status == Status.TOO_BIG
        await after(service, clock, 11)
        assert await raw.closed()
        assert service.inside.counters.frame_kicks == 1


async def test_each_request_has_the_time_for_itself(run_service, tuning, clock) -> None:
    async with run_service(frame_timeout=10, tuning=tuning) as service, service.connect() as raw:
        data = SET * 6
        for start in range(0, len(data), 1100):  # there is always one of which a part has arrived
            await raw.send(data[start : start + 1100])
            await after(service, clock, 6)
        assert [(await raw.receive()).status for _ in range(6)] == [0] * 6
        assert service.inside.counters.frame_kicks == 0


async def test_a_request_that_waits_for_the_service_is_not_late(run_service, tuning, clock) -> None:
    """While a long answer is not read, nobody reads what its client goes on to send."""
    async with run_service(frame_timeout=10, idle_timeout=10, tuning=tuning, window=20_000) as service, service.connect() as raw:
        await raw.send(
            *[encode_request(Opcode.SETQ, key=b"%0200d" % number, value=b"v", extras=EXTRAS) for number in range(8_000)],
            encode_request(Opcode.NOOP),
        )
        await raw.receive()
        await raw.send(encode_request(Opcode.STAT, key=b"keys"), SET[:500])
        for _ in range(3):
            await after(service, clock, 9)
        rows = 0
        while (row := await raw.receive()).key:
            rows += 1
        assert (rows, row.opcode) == (8_000, Opcode.STAT)
        await raw.send(SET[500:])
        assert (await raw.receive()).opaque == 77


async def test_a_request_may_take_for_ever_if_there_is_no_limit(run_service, tuning, clock) -> None:
    async with run_service(frame_timeout=float("inf"), tuning=tuning) as service, service.connect() as raw:
        await raw.send(SET[:500])
        await after(service, clock, 1e8)
        await raw.send(SET[500:])
        assert (await raw.receive()).status == 0


async def test_a_service_looks_by_itself(run_service) -> None:
    async with run_service(frame_timeout=0.05, tuning=Tuning(housekeeping=0.005)) as service, service.connect() as raw:
        await raw.send(SET[:500])
        assert (await raw.receive()).status == Status.TEMPORARY_FAILURE
        assert await raw.closed()


# Doing nothing


async def test_an_idle_connection_is_closed(run_service, tuning, clock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with run_service(idle_timeout=10, tuning=tuning) as service:
            async with service.connect() as silent, service.connect() as raw:
                for _ in range(2):
                    assert (await raw.call(Opcode.NOOP)).status == 0
                    await after(service, clock, 6)
                assert await silent.closed()
                assert (await raw.call(Opcode.NOOP)).status == 0
                assert service.inside.counters.idle_kicks == 1
    assert logs == []  # it is nobody's fault


async def test_whoever_waits_for_an_answer_is_not_idle(run_service, tuning, clock) -> None:
    async with run_service(idle_timeout=10, tuning=tuning) as service, service.connect() as raw:
        observed = (await raw.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
        uuid, seqno = struct.unpack_from(">QQ", observed, 3)
        wanted = b'{"range":{"start":"","end":"/w=="},"snapshot_requirements":{"vb_uuid":"%d","seqno":%d,"timeout_ms":60000}}'
        await raw.hello(Feature.JSON, Feature.UNORDERED_EXECUTION)
        await raw.send(encode_request(Opcode.RANGE_SCAN_CREATE, value=wanted % (uuid, seqno + 1), datatype=1))
        await after(service, clock, 50)
        async with service.connect() as other:
            assert (await other.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        assert (await raw.receive()).status == 0


async def test_a_connection_with_an_open_scan_is_not_idle(run_service, tuning, clock) -> None:
    """Or an SDK that is slow would take the documents that it has got for all of them."""
    async with run_service(idle_timeout=10, max_scan_life=100, tuning=tuning) as service, service.connect() as raw:
        assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        identity = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value
        await after(service, clock, 50)
        assert (await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 0, 0))).status == Status.SCAN_COMPLETE
        await after(service, clock, 11)
        assert await raw.closed()
        assert service.inside.counters.idle_kicks == 1


# Logging in


@pytest.fixture
def users(tmp_path):
    return write_users(tmp_path / "users.json", ANN)


async def test_whoever_does_not_log_in_is_closed(run_service, tuning, clock, users) -> None:
    with structlog.testing.capture_logs() as logs:
        async with run_service(users=users, login_timeout=10, tuning=tuning) as service, service.connect() as known:
            assert await known.login("ann", PASSWORD) == 0
            async with service.connect() as stranger:
                for _ in range(3):
                    assert (await stranger.call(Opcode.VERSION)).status == 0
                    await after(service, clock, 4)
                assert await stranger.closed()
            assert (await known.call(Opcode.NOOP)).status == 0
            counters = service.inside.counters
            assert (counters.login_kicks, counters.auth_errors) == (1, 1)
    assert [entry["event"] for entry in logs] == ["no login in time"]


async def test_whoever_has_lost_a_login_has_to_log_in_again_in_time(run_service, tuning, clock, users) -> None:
    async with run_service(users=users, login_timeout=10, tuning=tuning) as service, service.connect() as raw:
        assert await raw.login("ann", PASSWORD) == 0
        await after(service, clock, 100)
        assert await raw.login("ann", "wrong") == Status.AUTH_ERROR
        await after(service, clock, 11)
        assert await raw.closed()


# Reading

RATE = 1_000_000


async def fill(raw: Any, count: int) -> None:
    for number in range(count):
        await raw.send(encode_request(Opcode.SETQ, key=b"%03d" % number, value=bytes(1_000_000), extras=EXTRAS))
    await raw.call(Opcode.NOOP)


@pytest.fixture
async def asked(run_service, tuning, until: Callable[..., Any]):
    """A service, and a connection whose client has asked for 30 MB."""
    async with run_service(min_read_rate=RATE, tuning=tuning, window=100_000) as service:
        async with service.connect() as raw:
            await fill(raw, 1)
            await raw.send(encode_request(Opcode.GET, key=b"000") * 30)
            await until(lambda: any(each.activity().queued for each in service.inside.connections))
            yield service, raw


async def test_a_client_that_reads_too_slowly_is_closed(asked, clock) -> None:
    service, raw = asked
    with structlog.testing.capture_logs() as logs:
        await after(service, clock, 30)
        with pytest.raises(trio.BrokenResourceError):
            while await raw.stream.receive_some(1 << 20):
                pass
        assert service.inside.counters.rate_kicks == 1
    assert [entry["event"] for entry in logs] == ["a client takes its answers too slowly"]


async def test_a_client_that_reads_fast_enough_is_not(asked, clock) -> None:
    service, raw = asked
    for _ in range(30):
        assert len((await raw.receive()).value) == 1_000_000
        await after(service, clock, 0.5)
    await after(service, clock, 1000)
    assert (await raw.call(Opcode.NOOP)).status == 0
    assert service.inside.counters.rate_kicks == 0


async def test_by_default_no_client_reads_too_slowly(run_service, tuning, clock, until) -> None:
    async with run_service(tuning=tuning, window=100_000) as service, service.connect() as raw:
        await fill(raw, 1)
        await raw.send(encode_request(Opcode.GET, key=b"000") * 30)
        await until(lambda: any(each.activity().queued for each in service.inside.connections))
        await after(service, clock, 1e6)
        for _ in range(30):
            assert (await raw.receive()).status == 0


def test_looks_are_as_seldom_as_the_limits_allow(run_service) -> None:
    from trio_spool.server import Settings
    from trio_spool.server.shared import Timekeeper

    def interval(**values: Any) -> float:
        return Timekeeper(lambda: Settings(**values), None, None, None).interval(0.5)  # type: ignore[arg-type]

    assert interval() == 1.5  # a twentieth of the time for a login
    assert interval(login_timeout=1) == 0.5
    assert interval(login_timeout=float("inf")) == 5
    assert interval(login_timeout=float("inf"), min_read_rate=RATE) == 0.5
