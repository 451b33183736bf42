"""The baton: which strand runs next."""

from __future__ import annotations

import io
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenlet import GreenletExit, getcurrent, greenlet

# A run of these tests takes a few hundred steps, a long one some thousands. Picked, not measured.
MOST_STEPS = 50_000


class Stuck(AssertionError):
    """No strand can run, or they run without an end."""


class Strand:
    """What would be a thread.

    Attributes:
        ready: Returns whether the strand can go on; None while it waits for nothing.
        timed: Whether the strand may also go on at any time, because it waits with a timeout.
        site: Where the strand is; for the trace.
        history: A hash of everything that this strand has read of shared fields.
    """

    __slots__ = ("greenlet", "history", "name", "ready", "side", "site", "timed")

    def __init__(self, name: str, side: str, function: Callable[[], object], hub: greenlet) -> None:
        self.name = name
        self.side = side
        self.greenlet = greenlet(function, hub)
        self.ready: Callable[[], object] | None = None
        self.timed = False
        self.site = "begin"
        self.history = hash(name)


class Schedule:
    """Decides who runs: here, a strand runs until it has to wait, except where `decisions` say otherwise.

    Args:
        decisions: The number of the option to take, by step. Option 0 is the strand that runs, or else the oldest that can.

    Attributes:
        due: The step from which on the baton must ask.
        taken: The decisions that were taken, apart from those for option 0.
    """

    def __init__(self, decisions: dict[int, int] | None = None) -> None:
        self._decisions = decisions or {}
        self._steps = iter(sorted(self._decisions))
        self.due: float = next(self._steps, float("inf"))
        self.taken: dict[int, int] = {}

    def choose(self, baton: Baton, options: list[Strand]) -> Strand:
        while self.due <= baton.step:
            self.due = next(self._steps, float("inf"))
        number = self._decisions.get(baton.step, 0)
        return self.take(baton, options, number if number < len(options) else 0)

    def take(self, baton: Baton, options: list[Strand], number: int) -> Strand:
        if number:
            self.taken[baton.step] = number
        return options[number]


class RandomSchedule(Schedule):
    """Draws from a seed when strands are interrupted, and who goes on.

    Most faults need one to three interruptions at the right places, after which a strand is held up for long; others need two
    strands that alternate. So half of the seeds have few interruptions, and the others have them at a rate.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = drawn = random.Random(seed)
        self._rate = drawn.choice((0, 0, 0, 0.03, 0.1, 0.4))
        self._few = sorted(drawn.randint(1, drawn.choice((100, 300))) for _ in range(drawn.randint(1, 3)))
        self.due = self._next(0)

    def _next(self, step: int) -> float:
        if self._rate:
            return step + int(self._random.expovariate(self._rate)) + 1
        return self._few.pop(0) if self._few else float("inf")

    def choose(self, baton: Baton, options: list[Strand]) -> Strand:
        first = 0
        if baton.step >= self.due:
            self.due = self._next(baton.step)
            first = min(1, len(options) - 1)
        elif not self._rate and self._random.random() < 0.8:
            return options[0]
        return self.take(baton, options, self._random.randrange(first, len(options)))


class Baton:
    """Runs strands, one at a time.

    Attributes:
        step: The number of switch points that were passed.
        events: What happens from outside, by the step from which on it may: see `at`.
        trace: Who was where, one line for each change of strands, if `tracing`.
    """

    def __init__(self, schedule: Schedule, *, tracing: bool = False, recording: bool = False) -> None:
        self.schedule = schedule
        self.step = 0
        self.strands: list[Strand] = []
        self.current: Strand | None = None
        self.now = 0.0
        self.trace: list[str] = []
        # Called at each switch point of a copy, before the access.
        self.record: Callable[[object, str], None] | None = self.access if recording else None
        self._tracing = tracing
        self._recording = recording
        self._shared: dict[tuple[int, str], object] = {}
        self._events: list[tuple[int, str | None, Callable[[], object]]] = []
        self._due: float = schedule.due
        self._hub = getcurrent()
        self._failure: BaseException | None = None
        self._idle: Callable[[], bool] = lambda: False

    def spawn(self, name: str, side: str, function: Callable[[], object]) -> Strand:
        """Add a strand. It runs later."""
        strand = Strand(name, side, lambda: self._live(strand, function), self._hub)
        self.strands.append(strand)
        return strand

    def _live(self, strand: Strand, function: Callable[[], object]) -> None:
        try:
            function()
        except GreenletExit:
            pass
        except BaseException as exc:
            self._failure = exc
        finally:
            self.strands.remove(strand)

    def at(self, step: int, action: Callable[[], object], side: str | None = None) -> None:
        """Do something at the first switch point from a step on, or at the first one of a side: in the strand that passes it."""
        self._events.append((step, side, action))
        self._events.sort(key=lambda event: event[0])
        self._due = 0

    def when_idle(self, idle: Callable[[], bool]) -> None:
        """Set what to do when every strand waits: let time pass, and return whether that helped."""
        self._idle = idle

    def run(self) -> None:
        """Run the strands until all have ended.

        Raises:
            Stuck: They wait for each other, or do not end.
            BaseException: What a strand raised.
        """
        while self.strands and self._failure is None:
            self.current = None
            chosen = self._pick()
            if chosen is not None:
                self._go(chosen)
        if self._failure is not None:
            raise self._failure

    def switch(self, site: str, *, calm: bool = False) -> None:
        """Perhaps let another strand run first. Does nothing outside of strands.

        Args:
            site: Where the strand is; for the trace.
            calm: Whether no event may come here.
        """
        current = self.current
        if current is None or current.greenlet is not getcurrent():
            return
        self.step += 1
        if self._recording:
            current.history = hash((current.history, site))
        if self.step >= self._due:
            current.site = site
            self._at_due(current, calm)

    def _at_due(self, current: Strand, calm: bool) -> None:
        if self.step > MOST_STEPS:
            self._stop(Stuck(f"not at an end after {MOST_STEPS:,} steps"))
        for event in self._events:
            step, side, action = event
            if step <= self.step and side in (None, current.side) and not calm:
                self._events.remove(event)
                self._note(f"event at {current.site}")
                action()
                break
        if self.step >= self.schedule.due:
            options = [current, *self._options(current)]
            if len(options) > 1:
                self._pass_to(self.schedule.choose(self, options))
            elif self.schedule.due <= self.step:
                self.schedule.due = self.step + 1
        self._due = min(self.schedule.due, MOST_STEPS + 1, self._events[0][0] if self._events else MOST_STEPS)

    def _options(self, apart_from: Strand | None = None) -> list[Strand]:
        """Return the strands that can go on: first those that need no timeout for it."""
        ready, timed = [], []
        for strand in self.strands:
            if strand is not apart_from:
                if strand.ready is None or strand.ready():
                    ready.append(strand)
                elif strand.timed:
                    timed.append(strand)
        return ready + timed

    def wait(self, ready: Callable[[], object], site: str, *, timed: bool = False) -> bool:
        """Let others run until a condition is true. Return False if there was a timeout, which may come at any time."""
        current = self.current
        assert current is not None and current.greenlet is getcurrent()
        self.switch(site, calm=True)
        if ready():
            return True
        current.ready, current.timed, current.site = ready, timed, site
        chosen = self._pick()
        if chosen is None:
            self._hub.switch()
        else:
            self._pass_to(chosen)
        current.ready, current.timed = None, False
        return bool(ready())

    def _pick(self) -> Strand | None:
        self.step += 1
        options = self._options()
        while not options:
            if not self.strands:
                return None
            if not self._idle():
                waits = "; ".join(f"{strand.name} at {strand.site}" for strand in self.strands)
                self._failure = Stuck(f"every strand waits: {waits}")
                return None
            options = self._options()
        return options[0] if len(options) == 1 else self.schedule.choose(self, options)

    def _pass_to(self, chosen: Strand) -> None:
        if chosen is not self.current:
            self._go(chosen)

    def _go(self, chosen: Strand) -> None:
        self.current = chosen
        self._note(f"{chosen.name} goes on at {chosen.site}")
        chosen.greenlet.switch()

    def read(self, site: str, value: object) -> None:
        """Record what the current strand has read: it may decide what the strand does from now on."""
        if self._recording and self.current is not None:
            self.current.history = hash((self.current.history, site, value))

    def access(self, target: object, site: str) -> None:
        """Record what the current strand is about to read, or that it writes."""
        what = site.partition(" ")[2]
        if what.endswith(("()", "[]")):
            name, value = "", digest(target)
        else:
            name = what.removesuffix(" =")
            value = self._look(target, name) if name == what else None
        self._shared[id(target), name] = target
        self.read(site, value)

    def state(self) -> int:
        """Return a hash of all that can make a difference from now on: what each strand has read, and what is shared now."""
        strands = tuple((strand.history, strand.site, strand is self.current) for strand in self.strands)
        shared = frozenset((type(target).__name__, name, self._look(target, name)) for (_, name), target in self._shared.items())
        return hash((strands, shared))

    def _look(self, target: object, name: str) -> object:
        """Return what an object, or an attribute of it, holds. A property may pass switch points, which must not count."""
        current, self.current = self.current, None
        try:
            return digest(getattr(target, name) if name else target)
        finally:
            self.current = current

    def _note(self, what: str) -> None:
        if self._tracing:
            self.trace.append(f"{self.step:5d} {what}")

    def _stop(self, failure: BaseException) -> None:
        self._failure = failure
        self._hub.switch()

    def abandon(self, apart_from: Strand | None = None) -> None:
        """End the strands of a run that failed, where they are: no switch point has an effect any more."""
        self.current = None
        for strand in list(self.strands):
            if strand is not apart_from:
                strand.greenlet.throw(GreenletExit)


_ruling: Baton | None = None


def ruling() -> Baton | None:
    """Return the baton that rules now."""
    return _ruling


@contextmanager
def rule(baton: Baton) -> Iterator[None]:
    """Have the switch points, locks and clocks of copies obey a baton for as long as the block lasts."""
    global _ruling
    before, _ruling = _ruling, baton
    try:
        yield
    finally:
        _ruling = before


@contextmanager
def aside() -> Iterator[None]:
    """Let a test look at something without passing switch points."""
    baton = _ruling
    assert baton is not None
    current, baton.current = baton.current, None
    try:
        yield
    finally:
        baton.current = current


def point(target: object, site: str) -> object:
    """A switch point before an access to `target`, which is returned. Called by the code of copies."""
    if _ruling is not None and _ruling.current is not None:
        _ruling.switch(site)
        if _ruling.record is not None:
            _ruling.record(target, site)
    return target


def digest(value: object) -> object:
    """Return something hashable that says what a shared object holds."""
    if value is None or isinstance(value, (int, float, bytes, str)):
        return value
    if isinstance(value, (list, tuple, deque)):
        return tuple(map(digest, value))
    if isinstance(value, io.BytesIO):
        return value.tell(), value.getvalue()[: value.tell()]
    return type(value).__name__
