"""Companions of a service: when they start, what they see of its life, and what their errors do."""

from __future__ import annotations

import pytest
import structlog
import trio

from trio_spool.server import ListenError, Service, Settings, Tuning
from trio_spool.server.shared import Life, Shared, Stage

SETTINGS = Settings(listen=("tcp://127.0.0.1:0",), engine="memory", drain_timeout=60)


async def run(*companions, stop: trio.Event, task_status=trio.TASK_STATUS_IGNORED, tuning: Tuning | None = None) -> None:
    await Service(SETTINGS, beside=companions, tuning=tuning).run(stop=stop, task_status=task_status)


async def test_its_addresses_come_behind_those_for_clients() -> None:
    async def companion(shared: Shared, *, task_status) -> None:
        task_status.started(["tcp://127.0.0.1:9 (nothing)"])
        await trio.sleep_forever()

    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status=trio.TASK_STATUS_IGNORED) -> None:
            await run(companion, companion, stop=stop, task_status=task_status)

        first, *others = await nursery.start(serve)
        assert first.startswith("tcp://127.0.0.1:")
        assert others == ["tcp://127.0.0.1:9 (nothing)"] * 2
        stop.set()


async def test_it_lives_from_before_the_first_client_until_after_the_last() -> None:
    seen: list[Stage] = []
    ended = trio.Event()

    async def companion(shared: Shared, *, task_status) -> None:
        seen.append(shared.life.stage)
        shared.life.watchers.append(seen.append)
        task_status.started([])
        try:
            await trio.sleep_forever()
        finally:
            assert not len(shared.connections)
            ended.set()

    stop = trio.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def serve(task_status=trio.TASK_STATUS_IGNORED) -> None:
                await run(companion, stop=stop, task_status=task_status)

            (address,) = await nursery.start(serve)
            client = await trio.open_tcp_stream("127.0.0.1", int(address.rsplit(":", 1)[1]))
            async with client:
                await client.send_all(b"\x80")  # half a request, which keeps the service from ending
                while seen[-1] is not Stage.SERVING:
                    await trio.sleep(0)
                stop.set()
                while seen[-1] is not Stage.DRAINING:
                    await trio.sleep(0.001)
                assert not ended.is_set()
    assert ended.is_set()
    assert seen == [Stage.STARTING, Stage.SERVING, Stage.DRAINING]


async def test_one_that_cannot_start_keeps_the_service_from_starting() -> None:
    async def companion(shared: Shared, *, task_status) -> None:
        raise ListenError("can't listen on tcp://127.0.0.1:1: it is in use")

    with pytest.raises(ListenError, match="in use"):
        await run(companion, stop=trio.Event())


async def test_one_that_fails_later_ends_alone() -> None:
    fail = trio.Event()

    async def companion(shared: Shared, *, task_status) -> None:
        task_status.started([])
        await fail.wait()
        raise ZeroDivisionError

    stop = trio.Event()
    with structlog.testing.capture_logs() as logs, trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def serve(task_status=trio.TASK_STATUS_IGNORED) -> None:
                await run(companion, stop=stop, task_status=task_status)

            (address,) = await nursery.start(serve)
            fail.set()
            while not logs:
                await trio.sleep(0.001)
            async with await trio.open_tcp_stream("127.0.0.1", int(address.rsplit(":", 1)[1])):
                stop.set()
    (line,) = logs
    assert line["log_level"] == "error"
    assert "has failed" in line["event"]
    assert isinstance(line["exc_info"], ZeroDivisionError)


def test_reloading_is_a_stage_of_a_service_that_serves() -> None:
    life, seen = Life(), []
    life.watchers.append(seen.append)
    with life.reloading():  # before it serves, nobody is told
        pass
    life.enter(Stage.SERVING)
    with life.reloading(), life.reloading():
        pass
    with life.reloading():
        life.enter(Stage.DRAINING)
    life.enter(Stage.SERVING)
    assert seen == [Stage.SERVING, Stage.RELOADING, Stage.SERVING, Stage.RELOADING, Stage.DRAINING]
