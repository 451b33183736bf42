"""A sender in the simulation: tasks that send bytes and spools to one stream, drawn from a seed, and what must be true in the end."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import trio

from .baton import Baton, Schedule, rule
from .copies import Copy
from .scenarios import EVENTS, KINDS, STALL, Boom, ClosingBoom, Producing, Scenario, flat
from .trio_strand import run_trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Each entry consists of bytes whose upper halves are its number, and whose lower halves count.
MOST_ENTRIES = 16


@attrs.frozen(kw_only=True)
class Entry:
    """What one call of a sender sends.

    Attributes:
        number: Its number, from 0: see `MOST_ENTRIES`.
        way: ``"send"``, ``"send_nowait"`` or ``"send_spool"``.
        output: The sizes of the fragments, and the kind of the producer.
        whole: As for `send_spool`.
        drains: Whether the task waits afterwards until everything is sent.
    """

    number: int
    way: str
    output: Scenario
    whole: bool
    drains: bool

    @property
    def data(self) -> bytes:
        return bytes(self.number * 16 + place % 16 for place in range(sum(self.output.sizes)))


@attrs.frozen(kw_only=True)
class Sending:
    """Tasks that send entries, a stream, and at most one event from outside.

    Attributes:
        tasks: The entries of each task.
        window: Of the sender, in bytes, like the next two.
        batch: Likewise.
        low_water: Likewise.
        pauses: How long the stream takes for each write, in turn: a number of passes of the loop, or `STALL`.
        breaks_after: The number of writes after which the stream breaks; None if it does not.
        stalls_for_ever: Whether it then stands still instead, so that the sender gives the peer up.
        event: As for `Scenario`. A cancellation is one of the first task.
        at: The step at which the event comes.
    """

    tasks: tuple[tuple[Entry, ...], ...]
    window: int
    batch: int
    low_water: int
    pauses: tuple[int, ...]
    breaks_after: int | None
    stalls_for_ever: bool
    event: str | None
    at: int


def draw_sending(seed: int) -> Sending:
    """Draw tasks and a stream."""
    drawn = random.Random(seed)
    tasks: list[list[Entry]] = [[] for _ in range(drawn.randint(1, 3))]
    for number in range(drawn.randint(1, drawn.choice((3, 8)))):
        way = drawn.choice(("send", "send_nowait", "send_spool", "send_spool"))
        largest = drawn.choice((1, 10, 100))
        output = Scenario(
            sizes=tuple(drawn.randint(0, largest) for _ in range(drawn.randint(0, 5) if way == "send_spool" else 1)),
            window=drawn.choice((1, 16, 200)),
            batch=drawn.choice((1, 16, 200)),
            low_water=0,
            kind=drawn.choice(KINDS),
            raises=drawn.random() < 0.2,
            closing_raises=drawn.random() < 0.1,
        )
        entry = Entry(number=number, way=way, output=output, whole=drawn.random() < 0.2, drains=drawn.random() < 0.2)
        drawn.choice(tasks).append(entry)
    window = drawn.choice((1, 16, 200))
    return Sending(
        tasks=tuple(map(tuple, tasks)),
        window=window,
        batch=drawn.choice((1, 16, 200)),
        low_water=drawn.randrange(window),
        pauses=tuple(drawn.choice((STALL, 0, 0, 1, 2)) for _ in range(drawn.randint(1, 3))),
        breaks_after=drawn.choice((None, None, None, 0, 1, 3)),
        stalls_for_ever=drawn.random() < 0.5,
        event=drawn.choice(EVENTS),
        at=drawn.randint(1, 600),
    )


class _Stream(trio.abc.SendStream):
    """Notes what is written to it."""

    def __init__(self, sending: Sending, baton: Baton) -> None:
        self._sending = sending
        self._baton = baton
        self._writes = 0
        self.accepted = bytearray()
        self.closed = self.broken = False

    async def send_all(self, data: Any) -> None:
        sending = self._sending
        assert not self.closed, "written to after it was closed"
        if self._writes == sending.breaks_after:
            self.broken = True
            if sending.stalls_for_ever:
                await trio.sleep_forever()
            raise trio.BrokenResourceError("the peer is gone")
        self._writes += 1
        pause = sending.pauses[self._writes % len(sending.pauses)]
        if pause == STALL:
            await trio.sleep(1)
        for _ in range(pause):
            await trio.lowlevel.checkpoint()
        self._baton.switch("writes")
        self.accepted += data

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class SenderRun:
    """One run under a schedule: `open_sender` in Trio.

    Args:
        copy: What is tested.
    """

    def __init__(self, copy: Copy, sending: Sending, schedule: Schedule, *, seed: int = 0, tracing: bool = False) -> None:
        self._core = copy.load("_core")
        self._sending = sending
        self._seed = seed
        self.baton = Baton(schedule, tracing=tracing)
        self._stream = _Stream(sending, self.baton)
        self._producing: dict[int, Producing] = {}
        self._sent: list[int] = []  # the entries that were sent, or queued
        self._begun: list[int] = []
        self._failed: dict[int, BaseException] = {}
        self._cancelled = self._interrupted = self._ended = False

    def check(self) -> None:
        """Run it, and check what must be true in the end.

        Raises:
            AssertionError: Something is not.
        """
        ended_by: BaseException | None = None
        with rule(self.baton):
            try:
                run_trio(self.baton, self._run, seed=self._seed)
            except (KeyboardInterrupt, BaseExceptionGroup) as exc:
                ended_by = exc
        if self._interrupted:
            assert ended_by is not None and KeyboardInterrupt in map(type, flat(ended_by)), f"Ctrl-C was swallowed: {ended_by!r}"
        else:
            assert ended_by is None, repr(ended_by)
        self._check_bytes()
        self._check_tasks()
        for producing in self._producing.values():
            assert producing.ended or not producing.begun, "a call ended before its producer"
            assert producing.closed == ["worker"] or not producing.begun, f"closed by {producing.closed}"
        self._check_statistics()

    async def _run(self) -> None:
        sending, core = self._sending, self._core
        limits = core.SpoolLimits(window=sending.window, batch=sending.batch, low_water=sending.low_water)
        with trio.CancelScope() as scope:
            if sending.event == "cancel":
                token = trio.lowlevel.current_trio_token()
                self.baton.at(sending.at, partial(self._ask_to_cancel, token, scope))
            elif sending.event == "ctrl-c":
                self.baton.at(sending.at, self._interrupt, "loop")
            try:
                async with core.open_sender(self._stream, limits=limits, send_timeout=30) as self._sender:
                    async with trio.open_nursery() as nursery:
                        for number, entries in enumerate(sending.tasks):
                            nursery.start_soon(self._send_all, entries, scope if number == 0 else None)
            finally:
                self._ended = True

    async def _send_all(self, entries: tuple[Entry, ...], scope: trio.CancelScope | None) -> None:
        for entry in entries:
            self._begun.append(entry.number)
            self.baton.switch("sends")
            try:
                await self._send(entry)
                self._sent.append(entry.number)
                if entry.drains:
                    await self._sender.drain()
            except (self._core.SpoolBrokenError, self._core.SpoolFullError, Boom, ClosingBoom) as exc:
                self._failed[entry.number] = exc

    async def _send(self, entry: Entry) -> None:
        if entry.way == "send":
            await self._sender.send(entry.data)
        elif entry.way == "send_nowait":
            self._sender.send_nowait(entry.data)
            await trio.lowlevel.checkpoint()
        else:
            output = entry.output
            producing = self._producing[entry.number] = Producing(output, self.baton)
            producing.data = entry.data
            limits = self._core.SpoolLimits(window=output.window, batch=output.batch, low_water=output.low_water)
            await self._sender.send_spool(producing.make(), limits=limits, whole=entry.whole)

    def _ask_to_cancel(self, token: trio.lowlevel.TrioToken, scope: trio.CancelScope) -> None:
        try:
            token.run_sync_soon(self._cancel, scope)
        except trio.RunFinishedError:
            pass

    def _cancel(self, scope: trio.CancelScope) -> None:
        self._cancelled = not self._ended
        scope.cancel()

    def _interrupt(self) -> None:
        self._interrupted = True
        signal.raise_signal(signal.SIGINT)

    def _check_bytes(self) -> None:
        """Check that each entry was sent at most once, in one piece, and as far as its task was told."""
        entries = {entry.number: entry for task in self._sending.tasks for entry in task}
        order = []
        for number, data in _pieces(bytes(self._stream.accepted)):
            assert number not in order, f"entry {number} was sent twice, or in two pieces"
            order.append(number)
            assert entries[number].data.startswith(data), f"entry {number} was sent as {data.hex()}"
            if number in self._sent and not self._over:
                assert data == entries[number].data, f"{len(data)} bytes of entry {number} were sent, and it was called sent"
        for task in self._sending.tasks:
            sent = [number for number in order if number in {entry.number for entry in task}]
            assert sent == sorted(sent), f"entries were sent in the order {order}"
        if not self._over:
            for number in self._sent:
                assert number in order or not entries[number].data, f"entry {number} was not sent"

    @property
    def _over(self) -> bool:
        """Whether the stream ended before everything was sent."""
        return self._stream.broken or self._stream.closed or self._cancelled or self._interrupted

    def _check_tasks(self) -> None:
        for number, error in self._failed.items():
            if isinstance(error, self._core.SpoolBrokenError):
                assert self._stream.broken or self._stream.closed, f"entry {number} failed by {error!r}"
        if self._stream.broken and not self._cancelled and not self._interrupted:
            assert self._stream.closed, "a stream that broke was left open"
        if not (self._cancelled or self._interrupted):
            entries = {entry.number for task in self._sending.tasks for entry in task}
            assert set(self._begun) == entries, "a task did not go on"

    def _check_statistics(self) -> None:
        if not hasattr(self, "_sender"):
            return
        statistics = self._sender.statistics()
        assert statistics.bytes == len(self._stream.accepted)
        assert statistics.queued == 0 or self._interrupted
        assert statistics.spools.workers == 0


def _pieces(accepted: bytes) -> Iterator[tuple[int, bytes]]:
    """Divide what a stream was given into the entries it consists of."""
    begin = 0
    for place in range(1, len(accepted) + 1):
        if place == len(accepted) or accepted[place] // 16 != accepted[begin] // 16:
            yield accepted[begin] // 16, accepted[begin:place]
            begin = place
