"""Who counts as wanting the event loop beside the streams."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool import open_sender, open_spool
from trio_spool._core._manners import LONG, SHORT, manners


def slices_of(seen: list[float], count: int):
    """Emit fragments; note before each how long the worker may keep the interpreter."""
    ours = manners()

    def generate():
        for _ in range(count):
            seen.append(ours.time_slice())
            yield b"x" * 100

    return generate()


def test_a_stream_alone_is_never_hurried() -> None:
    """The first steps of its own tasks, and of Trio's that carries what threads ask for, are nobody else's."""
    seen: list[float] = []

    async def main() -> None:
        await wait_all_tasks_blocked()  # Trio's own tasks have begun
        async with open_spool(slices_of(seen, 20_000)) as batches:
            async for _ in batches:
                pass

    trio.run(main)
    assert set(seen) == {LONG}


def test_a_task_that_does_not_stream_is_given_way_to() -> None:
    seen: list[float] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def other() -> None:
                while True:
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(other)
            async with open_spool(slices_of(seen, 20_000)) as batches:
                async for _ in batches:
                    pass
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert SHORT in seen


def test_a_sender_alone_is_not_hurried() -> None:
    class Discard(trio.abc.SendStream):
        async def send_all(self, data) -> None:
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    seen: list[float] = []

    async def main() -> None:
        async with open_sender(Discard()) as sender:
            await wait_all_tasks_blocked()
            await sender.send_spool(slices_of(seen, 20_000))

    trio.run(main)
    assert set(seen) == {LONG}
