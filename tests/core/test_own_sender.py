"""A producer that calls the sender of its own output would wait for its own end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_spool import Sender, SpoolWriter, open_sender

CALLS = {
    "send": lambda sender: partial(sender.send, b"y"),
    "drain": lambda sender: sender.drain,
    "send_spool": lambda sender: partial(sender.send_spool, [b"y"]),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def producer_of(kind: str, call):
    def rows() -> Iterator[bytes]:
        yield b"x"
        trio.from_thread.run(call)

    def write(out: SpoolWriter) -> None:
        out.write(b"x")
        trio.from_thread.run(call)

    return rows() if kind == "iterable" else write


@calls
@pytest.mark.parametrize("kind", ["iterable", "function"])
async def test_it_is_told(kind: str, call) -> None:
    left, right = memory_stream_pair()
    with trio.fail_after(60):
        async with open_sender(left) as sender:
            with pytest.raises(RuntimeError, match="producer the rows called the sender that sends its output"):
                await sender.send_spool(producer_of(kind, call(sender)), name="the rows")
            await sender.send(b"z")
    assert await right.receive_some(10) == b"xz"


@calls
async def test_another_sender_may_be_called(call) -> None:
    left, _right = memory_stream_pair()
    other_left, other_right = memory_stream_pair()
    with trio.fail_after(60):
        async with open_sender(left) as sender, open_sender(other_left) as other:
            await sender.send_spool(producer_of("iterable", call(other)))
    await other_left.aclose()
    assert await other_right.receive_some(10) == (b"" if call is CALLS["drain"] else b"y")


async def test_send_nowait_does_not_wait() -> None:
    left, right = memory_stream_pair()

    def write(sender: Sender, out: SpoolWriter) -> None:
        trio.from_thread.run_sync(sender.send_nowait, b"after")
        out.write(b"x")

    async with open_sender(left) as sender:
        await sender.send_spool(partial(write, sender))
    assert await right.receive_some(10) == b"xafter"


async def test_a_task_that_a_producer_started_may_send_after_its_end() -> None:
    left, right = memory_stream_pair()
    ended = trio.Event()

    async def later(sender: Sender) -> None:
        await ended.wait()
        await sender.send(b"later")

    async with open_sender(left) as sender, trio.open_nursery() as nursery:

        def write(out: SpoolWriter) -> None:
            out.write(b"x")
            trio.from_thread.run_sync(nursery.start_soon, later, sender)

        await sender.send_spool(write)
        ended.set()
    assert await right.receive_some(10) == b"xlater"
