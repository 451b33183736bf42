"""Both engines against a plain dict."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from trio_spool.engine import (
    Arithmetic,
    Concat,
    Delete,
    Flush,
    Get,
    Item,
    Problem,
    Store,
    StoreMode,
    Touch,
    open_engine,
)

KEYS = st.sampled_from([b"a", b"b", b"ab", b"\xff" * 250, b"c"])
VALUES = st.one_of(st.binary(max_size=30), st.integers(0, 2**64 + 5).map(lambda n: b"%d" % n))
EXPIRIES = st.one_of(st.just(0), st.integers(990, 1100))


class EngineMachine(RuleBasedStateMachine):
    """What an engine and a dict make of the same operations, with a clock that is set by hand."""

    kind = "memory"
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.model: dict[bytes, Item] = {}
        self.flush_at = 0.0
        self.last_cas = 0
        self.last_seqno = 0

    @initialize()
    def open(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.engine = self._open()
        self.reader = self.engine.open_reader()

    def _open(self):
        return open_engine(self.kind, self.path / "data", fsync="no", clock=lambda: self.now, expiry_interval=3600)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.path)

    # The model

    def live(self, key: bytes) -> Item | None:
        item = self.model.get(key)
        return item if item is not None and not 0 < item.expiry <= self.now else None

    def settle_flush(self) -> None:
        if 0 < self.flush_at <= self.now:
            self.model.clear()
            self.flush_at = 0.0

    def mutated(self, outcome, key: bytes, item: Item | None) -> None:
        assert outcome.problem is None
        assert outcome.cas > self.last_cas
        assert outcome.seqno > self.last_seqno
        self.last_cas, self.last_seqno = outcome.cas, outcome.seqno
        if item is None:
            self.model.pop(key, None)
        else:
            self.model[key] = item._replace(cas=outcome.cas, seqno=outcome.seqno)

    def do(self, operation):
        self.settle_flush()
        (outcome,) = self.engine.execute([operation])
        return outcome

    # Operations

    @rule(
        key=KEYS,
        value=VALUES,
        expiry=EXPIRIES,
        flags=st.integers(0, 2**32 - 1),
        mode=st.sampled_from(StoreMode),
        cas=st.integers(0, 3),
    )
    def store(self, key, value, expiry, flags, mode, cas) -> None:
        current = self.live(key) if not 0 < self.flush_at <= self.now else None
        condition = {0: 0, 1: 12345, 2: current.cas if current else 7, 3: 0}[cas]
        outcome = self.do(Store(key, value, flags, expiry, 1, mode, condition))
        if condition:
            problem = Problem.NOT_FOUND if current is None else Problem.EXISTS if current.cas != condition else None
        else:
            problem = None
            if mode is StoreMode.ADD and current is not None:
                problem = Problem.EXISTS
            if mode is StoreMode.REPLACE and current is None:
                problem = Problem.NOT_FOUND
        if problem:
            assert outcome.problem is problem
        else:
            self.mutated(outcome, key, Item(value, flags, expiry, 1))

    @rule(key=KEYS, value=VALUES, prepend=st.booleans())
    def concatenate(self, key, value, prepend) -> None:
        outcome = self.do(Concat(key, value, prepend, max_size=50))
        current = self.live(key)
        if current is None or len(current.value) + len(value) > 50:
            assert outcome.problem is Problem.NOT_STORED
        else:
            joined = value + current.value if prepend else current.value + value
            self.mutated(outcome, key, current._replace(value=joined, datatype=0))

    @rule(key=KEYS, delta=st.integers(-(2**64) + 1, 2**64 - 1), create=st.booleans())
    def count(self, key, delta, create) -> None:
        outcome = self.do(Arithmetic(key, delta, 17, 0, create))
        current = self.live(key)
        if current is None:
            if not create:
                assert outcome.problem is Problem.NOT_FOUND
                return
            number, item = 17, Item(b"17")
        else:
            text = current.value
            if not (text.isdigit() and len(text) <= 20 and int(text) < 2**64):
                assert outcome.problem is Problem.NOT_A_NUMBER
                return
            number = int(text) + delta
            number = 0 if number < 0 else number % 2**64
            item = current._replace(value=b"%d" % number)
        assert outcome.number == number
        self.mutated(outcome, key, item)

    @rule(key=KEYS, stale=st.booleans())
    def delete(self, key, stale) -> None:
        outcome = self.do(Delete(key, 99 if stale else 0))
        if self.live(key) is None:
            assert outcome.problem is Problem.NOT_FOUND
        elif stale:
            assert outcome.problem is Problem.EXISTS
        else:
            self.mutated(outcome, key, None)

    @rule(key=KEYS, expiry=EXPIRIES)
    def touch(self, key, expiry) -> None:
        outcome = self.do(Touch(key, expiry))
        current = self.live(key)
        if current is None:
            assert outcome.problem is Problem.NOT_FOUND
        else:
            self.mutated(outcome, key, current._replace(expiry=expiry))
            assert outcome.item == self.model[key]

    @rule(key=KEYS, value=VALUES)
    def several_in_one_submission(self, key, value) -> None:
        self.settle_flush()
        stored, found, deleted, missing = self.engine.execute([Store(key, value), Get(key), Delete(key), Get(key)])
        assert found.item.value == value
        assert found.item.cas == stored.cas
        assert missing.problem is Problem.NOT_FOUND
        self.mutated(stored, key, Item(value))
        self.mutated(deleted, key, None)

    @rule(delay=st.sampled_from([0, 0, 5, 50]))
    def flush(self, delay) -> None:
        outcome = self.do(Flush(self.now + delay if delay else 0))
        assert outcome.problem is None
        if delay:
            self.flush_at = self.now + delay
        else:
            self.model.clear()
            self.flush_at = 0.0

    @rule(seconds=st.sampled_from([0.5, 3, 40]))
    def time_passes(self, seconds) -> None:
        self.now += seconds
        self.reader.release()

    @rule(target=snapshots)
    def take_snapshot(self):
        if len(self.engine.registry) > 20:
            return multiple()
        expected = {} if 0 < self.flush_at <= self.now else {key: self.live(key) for key in self.model if self.live(key)}
        return self.engine.snapshot(), sorted(expected.items()), self.engine

    @rule(pair=snapshots, start=KEYS, end=KEYS)
    def read_snapshot(self, pair, start, end) -> None:
        snapshot, expected, engine = pair
        if engine is self.engine:
            assert list(snapshot.records()) == [(key, *item) for key, item in expected]
            assert list(snapshot.records(start, end)) == [(key, *item) for key, item in expected if start <= key < end]

    @rule()
    def restart(self) -> None:
        if self.kind == "lmdb":
            self.reader.close()
            self.engine.close()
            self.engine = self._open()
            self.reader = self.engine.open_reader()

    @invariant()
    def everything_is_as_in_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        flushed = 0 < self.flush_at <= self.now
        expected = {} if flushed else {key: self.live(key) for key in self.model if self.live(key)}
        self.reader.release()
        for key in (b"a", b"b", b"ab", b"\xff" * 250, b"c", b"never"):
            assert self.reader.get(key) == expected.get(key)
        entries = [(key, entry.size, entry.cas) for key, entry in self.engine.entries()]
        assert entries == [(key, len(item.value), item.cas) for key, item in sorted(expected.items())]


class LmdbMachine(EngineMachine):
    kind = "lmdb"


TestMemoryMachine = EngineMachine.TestCase
TestLmdbMachine = LmdbMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLmdbMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
