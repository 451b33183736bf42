"""How much of the statistics that nobody has taken yet the client holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_spool import open_sender
from trio_spool.client import Client
from trio_spool.mcbp import Opcode, Status, encode_response

LOOK_AHEAD = 10_000
FRAME = encode_response(Opcode.STAT, Status.OK, 1, key=b"name", value=b"v" * 972)
COUNT = 100
ANSWERS = [*[FRAME] * COUNT, encode_response(Opcode.STAT, Status.OK, 1), encode_response(Opcode.NOOP, Status.OK, 2)]


class Frames(trio.abc.ReceiveStream):
    """Gives one frame at a time, as many as are asked for, and counts their bytes."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = iter(frames)
        self.given = 0
        self.go_on = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.go_on.wait()
        frame = next(self._frames, None)
        if frame is None:
            await trio.sleep_forever()
        self.given += len(frame)
        return frame

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def client_of(frames: Frames) -> AsyncIterator[Client]:
    """Open a client to which these frames arrive once they are let go."""
    left, _right = memory_stream_pair()
    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        client = Client(frames, sender, LOOK_AHEAD)
        nursery.start_soon(client.receive)
        yield client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("taken_at_once", [1, 7, COUNT])
async def test_it_is_bounded_however_slowly_they_are_taken(taken_at_once: int) -> None:
    frames = Frames(ANSWERS)
    with trio.fail_after(10):
        async with client_of(frames) as client, client.stat("keys") as statistics:
            frames.go_on.set()
            taken = 0
            await wait_all_tasks_blocked()
            async for _ in statistics:
                taken += 1
                if taken % taken_at_once == 0:
                    await wait_all_tasks_blocked()
                assert frames.given - taken * len(FRAME) <= LOOK_AHEAD + len(FRAME)
            assert taken == COUNT


async def test_what_is_dropped_makes_room_for_what_follows() -> None:
    frames = Frames(ANSWERS)
    with trio.fail_after(10):
        async with client_of(frames) as client:
            async with client.stat("keys"):
                frames.go_on.set()
                await wait_all_tasks_blocked()
                assert frames.given <= LOOK_AHEAD + len(FRAME)
            await client.noop()
