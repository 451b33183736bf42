"""What is simulated: one producer and its receiver, drawn from a seed, and what must be true in the end."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import trio

from .baton import Baton, Schedule, aside, rule
from .copies import Copy
from .trio_strand import run_trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Boom(Exception):
    """Raised by a producer."""


class ClosingBoom(Exception):
    """Raised by a producer that is closed before its end."""


KINDS = ("generator", "iterator", "function", "map")
# Work on a batch that takes so long that everybody else has come to a halt meanwhile.
STALL = -1
EVENTS = (None, None, "cancel", "ctrl-c")


@attrs.frozen(kw_only=True)
class Scenario:
    """One producer, one receiver, and at most one event from outside.

    Attributes:
        sizes: The sizes of the fragments, in bytes.
        kind: What sort of producer it is: one of `KINDS`.
        raises: Whether the producer raises after its last fragment.
        closing_raises: Whether it raises if it is closed before its end.
        leaves_after: The number of batches after which the receiver leaves; None if it takes all.
        silent: Whether the producer emits nothing more after its last fragment until its stop function is called. The receiver
            leaves when it has received all.
        awaits: Whether the producer waits, before each fragment, until everything before it was received.
        pauses: How long the receiver works on each batch, in turn: a number of passes of the loop, or `STALL`.
        event: One of `EVENTS`.
        at: The step at which the event comes.
    """

    sizes: tuple[int, ...]
    window: int
    batch: int
    low_water: int
    kind: str = "generator"
    raises: bool = False
    closing_raises: bool = False
    leaves_after: int | None = None
    silent: bool = False
    awaits: bool = False
    pauses: tuple[int, ...] = (0,)
    event: str | None = None
    at: int = 0


def draw(seed: int) -> Scenario:
    """Draw a scenario."""
    drawn = random.Random(seed)
    largest = drawn.choice((1, 3, 10, 100, 900))
    sizes = tuple(drawn.randint(0, largest) for _ in range(drawn.randint(0, drawn.choice((4, 6, 30)))))
    window = drawn.choice((1, 4, 16, 200, 2000, 5000))
    return Scenario(
        sizes=sizes,
        window=window,
        batch=drawn.choice((1, 4, 200, 1000)),
        low_water=drawn.randrange(window),
        kind=drawn.choice(KINDS),
        raises=drawn.random() < 0.2,
        closing_raises=drawn.random() < 0.2,
        leaves_after=drawn.choice((None, None, 0, 1, 3)),
        awaits=drawn.random() < 0.3,
        pauses=tuple(drawn.choice((STALL, 0, 0, 1, 2)) for _ in range(drawn.randint(1, 3))),
        event=drawn.choice(EVENTS),
        at=drawn.randint(1, 400),
    )


def draw_silent(seed: int) -> Scenario:
    """Draw a scenario whose producer falls silent."""
    scenario = draw(seed)
    return attrs.evolve(scenario, silent=True, sizes=(*scenario.sizes, 1), raises=False, kind=("generator", "function")[seed % 2])


def draw_small(seed: int) -> tuple[Scenario, dict[str, bool]]:
    """Draw a scenario of at most six fragments, and what happens in it: see `HandingOver`."""
    drawn = random.Random(seed)
    scenario = Scenario(
        sizes=tuple(drawn.choice((1, 1, 2)) for _ in range(drawn.randint(1, drawn.choice((2, 4, 6))))),
        window=drawn.choice((2, 3, 300)),
        batch=drawn.choice((2, 4, 200)),
        low_water=drawn.choice((0, 1)),
        kind=drawn.choice(("generator", "function")),
        raises=drawn.random() < 0.2,
        leaves_after=drawn.choice((None, None, 1, 2)),
        awaits=drawn.random() < 0.3,
        pauses=(drawn.choice((STALL, 0, 1)),),
    )
    return scenario, drawn.choice(({}, {"closes": True}, {"yields": True}))


class Producing:
    """The producer of a scenario, and what it notes about itself."""

    def __init__(self, scenario: Scenario, baton: Baton) -> None:
        self._scenario = scenario
        self._baton = baton
        self._next = 0
        self.data = bytes(number % 251 for number in range(sum(scenario.sizes)))
        self.emitted = 0  # bytes
        self.fragments = 0
        self.most_held = 0
        self.taken: Callable[[], int] = lambda: 0
        self.received = 0  # bytes
        self.left = False  # whether the receiver has left
        self.begun = self.ended = False
        self.closed: list[str] = []  # the sides that closed it
        self.stops: list[str] = []  # the sides that called `stop`

    def _fragments(self) -> Iterator[bytes]:
        self.begun = True
        for size in self._scenario.sizes:
            if self._scenario.awaits:
                self._baton.wait(lambda: self.left or self.received == self.emitted, "awaits its receiver")
            self._baton.switch("produces")
            fragment = self.data[self.emitted : self.emitted + size]
            with aside():
                self.most_held = max(self.most_held, self.emitted + size - self.taken())
            self.emitted += size
            self.fragments += 1
            yield fragment
        self._baton.switch("is at its end")
        if self._scenario.silent:
            self._baton.wait(lambda: self.stops, "is silent")
        self.ended = True
        if self._scenario.raises:
            raise Boom

    def stop(self) -> None:
        """Have a silent producer end."""
        assert self._baton.current is not None
        self._baton.switch("stops")
        self.stops.append(self._baton.current.side)

    def _close(self) -> None:
        assert self._baton.current is not None
        self.closed.append(self._baton.current.side)
        self._baton.switch("closes")
        if self._scenario.closing_raises and not self.ended:
            self.ended = True
            raise ClosingBoom
        self.ended = True

    def _generator(self) -> Iterator[bytes]:
        try:
            yield from self._fragments()
        finally:
            self._close()

    def _write(self, out: Any) -> None:
        try:
            for fragment in self._fragments():
                assert out.write(fragment) == len(fragment)
        finally:
            self._close()

    def make(self) -> Any:
        kind = self._scenario.kind
        if kind == "function":
            return self._write
        if kind == "iterator":
            return _Closable(self._fragments(), self._close)
        if kind == "map":
            return map(bytes, self._generator())
        return self._generator()


class _Closable:
    def __init__(self, fragments: Iterator[bytes], close: Callable[[], None]) -> None:
        self._fragments = fragments
        self.close = close

    def __iter__(self) -> _Closable:
        return self

    def __next__(self) -> bytes:
        return next(self._fragments)


class SpoolRun:
    """One run of a scenario under a schedule: `open_spool` in Trio.

    Args:
        copy: What is tested.
    """

    def __init__(self, copy: Copy, scenario: Scenario, schedule: Schedule, *, seed: int = 0, tracing: bool = False) -> None:
        self._core = copy.load("_core")
        self._open: Callable[..., Any] = self._core.open_spool
        self._scenario = scenario
        self._seed = seed
        self.baton = Baton(schedule, tracing=tracing)
        self._producing = Producing(scenario, self.baton)
        self._received: list[bytes] = []
        self._left = self._cancelled = self._interrupted = False
        self._entered = self._after_the_block = False
        self._ended_first = True

    def check(self) -> None:
        """Run it, and check what must be true in the end.

        Raises:
            AssertionError: Something is not.
        """
        ended_by: BaseException | None = None
        with rule(self.baton):
            try:
                self._run()
            except (Boom, ClosingBoom, KeyboardInterrupt, BaseExceptionGroup) as exc:
                ended_by = exc
        self._check_bytes(ended_by)
        self._check_producer()
        self._check_end(ended_by)
        self._check_statistics()

    def _run(self) -> None:
        run_trio(self.baton, self._receive, seed=self._seed)

    async def _receive(self) -> None:
        scenario, baton = self._scenario, self.baton
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            if scenario.event == "cancel":
                baton.at(scenario.at, partial(self._ask_to_cancel, token, scope))
            elif scenario.event == "ctrl-c":
                baton.at(scenario.at, self._interrupt, "loop")
            await self._receive_in_block(self._open)

    async def _receive_in_block(self, open_spool: Callable[..., Any]) -> None:
        scenario = self._scenario
        limits = self._core.SpoolLimits(window=scenario.window, batch=scenario.batch, low_water=scenario.low_water)
        stop = self._producing.stop if scenario.silent else None
        self._spool = spool = open_spool(self._producing.make(), limits=limits, stop=stop)
        self._producing.taken = lambda: spool.statistics().bytes
        try:
            async with spool as batches:
                self._entered = True
                try:
                    await self._take(batches)
                finally:
                    self._producing.left = True
        finally:
            self._after_the_block = True
            self._ended_first = self._producing.ended or not self._producing.begun

    async def _take(self, batches: Any) -> None:
        scenario = self._scenario
        number = 0
        if scenario.leaves_after == 0:
            self._left = True
            return
        async for batch in batches:
            self._received.append(batch)
            self._producing.received += len(batch)
            self.baton.switch("receives")
            number += 1
            await self._pause(scenario.pauses[number % len(scenario.pauses)])
            all_there = scenario.silent and self._producing.received == len(self._producing.data)
            if number == scenario.leaves_after or all_there:
                self._left = True
                return

    async def _pause(self, pause: int) -> None:
        if pause == STALL:
            await trio.sleep(1)
        for _ in range(pause):
            await trio.lowlevel.checkpoint()

    def _ask_to_cancel(self, token: trio.lowlevel.TrioToken, scope: trio.CancelScope) -> None:
        try:
            token.run_sync_soon(self._cancel, scope)
        except trio.RunFinishedError:
            pass

    def _cancel(self, scope: trio.CancelScope) -> None:
        self._cancelled = not self._after_the_block
        scope.cancel()

    def _interrupt(self) -> None:
        self._interrupted = self._producing.left = True
        signal.raise_signal(signal.SIGINT)

    def _check_bytes(self, ended_by: BaseException | None) -> None:
        received = b"".join(self._received)
        producing = self._producing
        assert producing.data.startswith(received), f"received {received.hex()}, which the producer did not emit so"
        assert len(received) <= producing.emitted
        if not (self._left or self._cancelled or self._interrupted):
            assert received == producing.data, f"received {len(received)} of {len(producing.data)} bytes, {ended_by!r}"
        largest = max(self._scenario.sizes, default=0)
        assert producing.most_held <= self._scenario.window + largest, f"{producing.most_held} bytes were held"

    def _check_producer(self) -> None:
        producing, scenario = self._producing, self._scenario
        assert self._ended_first, "the block ended before the producer"
        if producing.begun or (scenario.kind == "iterator" and self._entered):
            assert producing.closed == ["worker"], f"closed by {producing.closed}"
        if scenario.silent and producing.begun:
            assert producing.stops == ["worker"], f"stopped by {producing.stops}"

    def _check_end(self, ended_by: BaseException | None) -> None:
        found = set() if ended_by is None else {type(exc) for exc in flat(ended_by)}
        if self._interrupted:
            assert KeyboardInterrupt in found, f"Ctrl-C was swallowed: {ended_by!r}"
        else:
            assert KeyboardInterrupt not in found
        if self._scenario.raises and not (self._left or self._cancelled or self._interrupted):
            assert found == {Boom}, f"the producer's error became {ended_by!r}"
        if not found & {Boom, ClosingBoom} and not self._interrupted:
            assert not (self._scenario.closing_raises and self._closed_early()), "an error of closing is lost"

    def _closed_early(self) -> bool:
        return self._producing.fragments < len(self._scenario.sizes) and bool(self._producing.closed)

    def _check_statistics(self) -> None:
        if not self._entered:
            return
        statistics = self._spool.statistics()
        assert statistics.workers == 0
        assert statistics.high_water <= self._scenario.window + max(self._scenario.sizes, default=0)
        received = len(b"".join(self._received))
        if not (self._left or self._cancelled or self._interrupted):
            assert statistics.bytes == received
            assert statistics.fragments == len(self._scenario.sizes)


class StreamRun(SpoolRun):
    """The same with `stream`."""

    def __init__(self, copy: Copy, scenario: Scenario, schedule: Schedule, *, seed: int = 0, tracing: bool = False) -> None:
        super().__init__(copy, scenario, schedule, seed=seed, tracing=tracing)
        self._open = copy.load("streams").stream


def flat(error: BaseException) -> Iterator[BaseException]:
    """Return the exceptions of a group, and of groups in it; or the one exception."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from flat(inner)
    else:
        yield error
