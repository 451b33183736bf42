"""What goes on in the background, as statistics show it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen(kw_only=True)
class BackgroundWork:
    """One kind of work that nobody has asked for.

    Attributes:
        name: What it is: ``write``, ``scrub``, ``sweep``.
        description: The same, for people.
        runs: How often it has been done.
        running_seconds: For how long it has been going on; None while it rests.
        last_seconds: How long it took the last time.
        total_seconds: How long it took in all, what is going on included.
        failures: How often something went wrong, or something damaged was met.
    """

    name: str
    description: str
    runs: int
    running_seconds: float | None
    last_seconds: float
    total_seconds: float
    failures: int = 0


class WorkClock:
    """Measures one kind of work. One thread does the work; any thread may read.

    Attributes:
        runs: How often it has been done.
        failures: How often it went wrong.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.failures = 0
        self._since: float | None = None
        self._last = 0.0
        self._total = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the work of a block, which counts as a run if it ends, and as a failure if it raises an `Exception`."""
        began = self._since = time.monotonic()
        try:
            yield
            self.runs += 1
        except Exception:
            self.failures += 1
            raise
        finally:
            self._since = None
            self._last = time.monotonic() - began
            self._total += self._last

    def read(self, name: str, description: str, failures: int | None = None) -> BackgroundWork:
        """Describe the work; `failures` stands for what was counted here."""
        since = self._since
        running = None if since is None else max(0.0, time.monotonic() - since)
        return BackgroundWork(
            name=name, description=description, runs=self.runs, running_seconds=running, last_seconds=self._last,
            total_seconds=self._total + (running or 0.0), failures=self.failures if failures is None else failures,
        )  # fmt: skip
