"""An engine whose reads a test controls: it keeps its items in memory, and calls the test's hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trio_spool.engine import ENGINES, Chunk, Engine, EngineKind, EngineOptions


def nothing() -> None:
    """Do nothing."""


class Hooks:
    """What happens before each read; a test may change it at any time. A hook may block, or raise.

    Attributes:
        reader_called: Before any method of a reader is called.
        before_open: Before an engine is opened.
        before_get: Before a point read.
        before_read: Before a chunk of a snapshot is read.
        after_read: After a chunk of a snapshot was read.
        endless: Whether snapshots have no end, and nothing in them.
        answered: After outcomes were handed to those who wait for them, in their thread.
        engines: The engines that were opened.
    """

    def __init__(self, *, local: bool = True) -> None:
        self.local = local
        self.before_open: Callable[[], Any] = nothing
        self.reader_called: Callable[[], Any] = nothing
        self.before_get: Callable[[], Any] = nothing
        self.before_read: Callable[[], Any] = nothing
        self.after_read: Callable[[], Any] = nothing
        self.endless = False
        self.answered: Callable[[], Any] = nothing
        self.engines: list[Engine] = []

    def kind(self) -> EngineKind:
        """Return the engine, for `Settings.engine`."""
        return EngineKind("controlled", needs_directory=False, open=self._open)

    def _open(self, options: EngineOptions) -> Engine:
        self.before_open()
        engine: Any = ENGINES["memory"].open(options)
        engine.local = self.local
        open_reader, snapshot, submit = engine.open_reader, engine.snapshot, engine.submit

        def open_hooked_reader() -> Any:
            called = _Before(open_reader(), lambda: self.reader_called(), ("get", "get_many", "release", "close"))
            return _Before(called, lambda: self.before_get(), ("get", "get_many"))

        def hooked_snapshot(**wanted: Any) -> Any:
            return _Snapshot(snapshot(**wanted), self)

        def hooked_submit(operations: Any, done: Callable[[Any], object]) -> None:
            def answered(outcomes: Any) -> None:
                done(outcomes)
                self.answered()

            submit(operations, answered)

        engine.open_reader, engine.snapshot, engine.submit = open_hooked_reader, hooked_snapshot, hooked_submit
        self.engines.append(engine)
        return engine


class _Before:
    """Something whose methods of these names call a hook first."""

    def __init__(self, inner: Any, hook: Callable[[], Any], names: tuple[str, ...]) -> None:
        self._inner = inner
        self._hook = hook
        self._names = names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self._names:
            return value

        def hooked(*args: Any, **kwargs: Any) -> Any:
            self._hook()
            return value(*args, **kwargs)

        return hooked


class _Snapshot(_Before):
    def __init__(self, inner: Any, hooks: Hooks) -> None:
        super().__init__(inner, lambda: hooks.before_read(), ())
        self._hooks = hooks

    def read(self, start: bytes, end: bytes | None, **limits: Any) -> Chunk:
        self._hook()
        chunk = Chunk([], start, 0) if self._hooks.endless else self._inner.read(start, end, **limits)
        self._hooks.after_read()
        return chunk
