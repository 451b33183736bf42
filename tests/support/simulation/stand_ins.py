"""What copies have in place of `threading`, of the clocks of `time`, and of the thread that watches for what takes too long."""

from __future__ import annotations

from .baton import Baton, ruling

# Seconds that pass, on every clock, with each look at one: about what a fragment takes.
TICK = 0.000002
# A timeout of so many seconds is for when something is wrong: it never comes.
PATIENT = 1.0


def perf_counter() -> float:
    baton = ruling()
    if baton is None:
        return 0.0
    baton.now += TICK
    return baton.now


thread_time = monotonic = perf_counter


def sleep(seconds: float) -> None:
    raise NotImplementedError("no worker of a copy sleeps")


def get_ident() -> int:
    baton = ruling()
    return 0 if baton is None or baton.current is None else id(baton.current)


class Lock:
    """A lock whose every use is a switch point. Nothing interrupts it: in C, no signal comes between a lock and its ``with``."""

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        baton = _ruling()
        baton.switch("acquire", calm=True)
        if self._held and (not blocking or not baton.wait(self._free, "acquire", timed=0 <= timeout < PATIENT)):
            baton.read("acquire", False)
            return False
        baton.read("acquire", True)
        self._held = True
        return True

    def _free(self) -> bool:
        return not self._held

    def release(self) -> None:
        _ruling().switch("release", calm=True)
        assert self._held, "release of a lock that is not held"
        self._held = False

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _ruling() -> Baton:
    baton = ruling()
    assert baton is not None, "a lock of a copy is used outside of a simulation"
    return baton


class Watch:
    """Watches nothing: how long something takes is up to the schedule."""

    late = 5.0

    def begin(self, report: object, *, together: bool = False) -> None:
        pass

    def end(self, wait: object) -> None:
        pass
