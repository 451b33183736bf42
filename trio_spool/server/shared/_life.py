"""How far a service is in its life, for everybody who asks or wants to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class Stage(Enum):
    """A stage in the life of a service."""

    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"  # it serves, and reads its settings and users again
    DRAINING = "draining"  # no further connections are accepted, and those that are open end


class Life:
    """The stage that a service is in. The event loop's thread uses it.

    Attributes:
        stage: The stage. Read it; only `enter` and `reloading` change it.
        watchers: Called with each stage when the service enters it, in its turn: they must neither wait nor raise.
    """

    def __init__(self) -> None:
        self.stage = Stage.STARTING
        self.watchers: list[Callable[[Stage], object]] = []
        self._reloads = 0

    @property
    def draining(self) -> bool:
        """Whether the service is about to end."""
        return self.stage is Stage.DRAINING

    def enter(self, stage: Stage) -> None:
        """Enter another stage, and tell all watchers. From DRAINING, there is no way back."""
        if stage is self.stage or self.draining:
            return
        self.stage = stage
        for watcher in self.watchers:
            watcher(stage)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Be in the stage RELOADING until the block ends. Blocks may overlap."""
        self._reloads += 1
        if self.stage is Stage.SERVING:
            self.enter(Stage.RELOADING)
        try:
            yield
        finally:
            self._reloads -= 1
            if not self._reloads and self.stage is Stage.RELOADING:
                self.enter(Stage.SERVING)
