"""Stores with a bound against a dict that is told what was evicted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trio_spool.engine import SMALLEST_BOUND, Delete, Evicted, Flush, Lock, Problem, Store, Touch, bound_of, open_engine

SIZE = SMALLEST_BOUND
LARGEST = SIZE // 16
KEYS = st.integers(0, 300).map(lambda number: b"k%03d" % number)
# Values of a page and of many, and such as fill the store after some.
SIZES = st.one_of(st.integers(0, 3000), st.integers(3000, 60_000), st.integers(100_000, LARGEST - 9000))
KEPT = b"kept"
PATIENT = 60  # seconds of a lock


class BoundMachine(RuleBasedStateMachine):
    """What an engine with a bound holds is what a dict holds, without what the engine says it has evicted."""

    kind = "memory"

    @initialize()
    def open(self) -> None:
        self.now = 1000.0
        self.path = Path(tempfile.mkdtemp())
        self.model: dict[bytes, tuple[bytes, int]] = {}  # values and expiries
        self.locks: dict[bytes, float] = {}
        self.events: list[tuple[bytes, int, int]] = []  # evictions: key, size and expiry; the writer's thread appends them
        self.evictions = 0
        self.number = 0
        self._open()
        self._execute([Store(KEPT + b"%d" % number, b"x" * 20_000) for number in range(3)])

    def _open(self) -> None:
        self.engine = open_engine(
            self.kind, self.path / "data", fsync="no", clock=lambda: self.now, steady_clock=lambda: self.now, expiry_interval=3600,
            bound=bound_of(SIZE, "size-aware"), may_evict=lambda key, xattrs: not key.startswith(KEPT), evicted=self._evicted,
        )  # fmt: skip
        self.reader = self.engine.open_reader()
        self.engine.count_uses(self.reader)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.path)

    def _evicted(self, evicted: list[Evicted]) -> None:
        """Take what a transaction has evicted: one of the test's, or one of those that the writer makes by itself afterwards."""
        for key, size, expiry, _ in evicted:
            assert not key.startswith(KEPT)
            assert self.locks.get(key, 0) <= self.now, "it is locked"
            self.events.append((key, size, expiry))

    def _settle(self, group: Iterable[bytes] = ()) -> None:
        """Wait until the writer evicts no more, and take from the model what it has evicted.

        Args:
            group: The keys that were stored a moment ago: what was evicted may have been there before.
        """
        seen = -1
        while seen != len(self.events):
            seen = len(self.events)
            self.engine.execute([Delete(b"nothing")])  # it comes after what the writer is doing, and what that leaves is next
        for key, size, expiry in self.events:
            if key in group and self.reader.get(key) is not None:
                continue
            value, model_expiry = self.model.pop(key)
            assert key in group or (len(value), model_expiry) == (size, expiry)
            self.evictions += 1
        self.events.clear()
        self.reader.release()

    def _execute(self, operations: list[Store]) -> None:
        before = {operation.key: self.model.get(operation.key) for operation in operations}
        for operation in operations:
            self.model[operation.key] = operation.value, operation.expiry
        for operation, outcome in zip(operations, self.engine.execute(operations), strict=True):
            if outcome.problem is Problem.LOCKED:
                assert self.locks[operation.key] > self.now
                old = before[operation.key]
                assert old is not None
                self.model[operation.key] = old
            else:
                assert outcome.problem is None
        self._settle(before)

    def live(self, key: bytes) -> bool:
        return key in self.model and not 0 < self.model[key][1] <= self.now

    @rule(keys=st.lists(KEYS, min_size=1, max_size=8, unique=True), size=SIZES, expiry=st.sampled_from([0, 0, 0, 5, 100]))
    def store(self, keys: list[bytes], size: int, expiry: int) -> None:
        self.number += 1
        value = (b"%d " % self.number * (size // 2 + 1))[:size]
        self._execute([Store(key, value, expiry=int(self.now) + expiry if expiry else 0) for key in keys])

    @rule(start=st.integers(0, 250), size=st.integers(20_000, 100_000))
    def fill(self, start: int, size: int) -> None:
        for number in range(start, start + 50):
            self._execute([Store(b"k%03d" % number, b"%d" % number * (size // 3))])

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        (outcome,) = self.engine.execute([Delete(key)])
        if self.locks.get(key, 0) > self.now and self.live(key):
            assert outcome.problem is Problem.LOCKED
        elif self.live(key):
            assert outcome.problem is None
            del self.model[key]
        else:
            assert outcome.problem is Problem.NOT_FOUND
        self._settle([key])

    @rule(key=KEYS)
    def lock(self, key: bytes) -> None:
        (outcome,) = self.engine.execute([Lock(key, PATIENT)])
        if outcome.problem is None:
            assert self.live(key)
            self.locks[key] = self.now + PATIENT
        self._settle()

    @rule(key=KEYS)
    def touch(self, key: bytes) -> None:
        expiry = int(self.now) + 50
        before = self.model.get(key)
        if before is not None and self.live(key) and self.locks.get(key, 0) <= self.now:
            self.model[key] = before[0], expiry
        (outcome,) = self.engine.execute([Touch(key, expiry)])
        assert (outcome.problem is None) == (self.live(key) and self.locks.get(key, 0) <= self.now)
        self._settle([key])

    @rule()
    def flush(self) -> None:
        self.engine.execute([Flush()])
        self.model.clear()
        self.locks.clear()
        self._execute([Store(KEPT, b"x" * 20_000)])

    @rule(seconds=st.sampled_from([1, 10, PATIENT]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def reopen(self) -> None:
        if self.kind != "memory":
            self.engine.close()
            self.locks.clear()
            self._open()
            self._settle()

    @rule(keys=st.lists(KEYS, max_size=20))
    def read(self, keys: list[bytes]) -> None:
        for key in keys:
            item = self.reader.get(key)
            assert (item is not None) == self.live(key)
            assert item is None or item.value == self.model[key][0]
        self.reader.release()

    @invariant()
    def holds_what_it_should(self) -> None:
        if not hasattr(self, "engine"):
            return
        with self.engine.snapshot() as snapshot:
            found = {record[0]: (record[1], record[3]) for record in snapshot.records()}
        assert found == {key: held for key, held in self.model.items() if self.live(key)}
        statistics = self.engine.statistics()
        size = sum(space.bytes for space in self.engine.spaces.values())
        assert size <= SIZE * 1.2
        # A transaction may store as much as an operation of this test does, beside what it can evict.
        assert statistics.live_bytes <= SIZE * 1.2 + 64 * 1024
        assert statistics.disk_bytes <= SIZE * 1.5  # one transaction here is larger than those of a server

    def __repr__(self) -> str:
        return type(self).__name__


class LmdbBoundMachine(BoundMachine):
    kind = "lmdb"


TestMemory = BoundMachine.TestCase
TestMemory.settings = settings(max_examples=15, stateful_step_count=20)
TestLmdb = LmdbBoundMachine.TestCase
TestLmdb.settings = settings(max_examples=15, stateful_step_count=20)
