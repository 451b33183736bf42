"""Both engines against a plain dict."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from trio_spool.engine import (
    EXTENDED,
    TOMBSTONE_PREFIX,
    Arithmetic,
    Concat,
    Delete,
    Edit,
    Flush,
    Get,
    Item,
    Lock,
    PathProblem,
    Problem,
    Remember,
    Remove,
    Step,
    StepKind,
    Store,
    StoreMode,
    Tombstone,
    Touch,
    Unlock,
    open_engine,
    plan_in_thread,
    split_extended,
)

ALL_KEYS = [b"a", b"ab", b"b", b"\xff" * 250]
KEYS = st.sampled_from(ALL_KEYS)
VALUES = st.one_of(st.binary(max_size=30), st.integers(0, 2**64 + 5).map(lambda n: b"%d" % n))
# Seconds from now; 0 for never.
EXPIRIES = st.sampled_from([0, 2, 5, 60, -5])
# Which CAS to give as the condition. Locks are held by whoever has the right one.
CAS = st.sampled_from(["none", "none", "right", "right", "wrong"])
NAMES = st.sampled_from(["x", "y"])
STEPS = st.one_of(
    st.tuples(st.just("set document"), st.just(""), st.integers(0, 10**6)),
    st.tuples(st.just("set"), NAMES, st.integers(0, 10**6)),
    st.tuples(st.sampled_from(["delete", "note CAS"]), NAMES),
    st.tuples(st.just("remove")),
)
CAS_MARK = "<the CAS>"
TOMBSTONE_LIFE = 60.0


def step_of(what: str, name: str = "", number: int = 0) -> Step:
    """Return what the engine is given for a step of the model."""
    if what == "remove":
        return Step(StepKind.REMOVE_DOCUMENT)
    if what == "set document":
        return Step(StepKind.SET_DOCUMENT, b"", b"[%d]" % number)
    if what == "delete":
        return Step(StepKind.REMOVE, name.encode(), xattr=True)
    value = b'"${Mutation.CAS}"' if what == "note CAS" else b"%d" % number
    return Step(StepKind.UPSERT, name.encode(), value, xattr=True, macros=True)


class EngineMachine(RuleBasedStateMachine):
    """What an engine and a dict make of the same operations, with a clock that is set by hand."""

    kind = "memory"
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.model: dict[bytes, Item] = {}
        self.locks: dict[bytes, float] = {}
        self.memories: dict[bytes, bytes] = {}
        self.tombstones: dict[bytes, Tombstone] = {}
        self.flush_at = 0.0
        self.last_cas = 0
        self.last_seqno = 0

    @initialize()
    def open(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.engine = self._open()
        self.reader = self.engine.open_reader()
        self.fill(b"5", 0)

    def _open(self):
        return open_engine(
            self.kind,
            self.path / "data",
            fsync="no",
            clock=lambda: self.now,
            steady_clock=lambda: self.now,
            expiry_interval=3600,
            space_of=lambda key: key[:1],
            tombstone_life=TOMBSTONE_LIFE,
        )

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.path)

    # The model

    def live(self, key: bytes) -> Item | None:
        item = self.model.get(key)
        return item if item is not None and not 0 < item.expiry <= self.now else None

    def at(self, seconds: int) -> int:
        return int(self.now) + seconds if seconds else 0

    def all_live(self) -> dict[bytes, Item]:
        return {} if self.flush_due() else {key: item for key, item in sorted(self.model.items()) if self.live(key)}

    def flush_due(self) -> bool:
        return 0 < self.flush_at <= self.now

    def clear(self) -> None:
        self.model.clear()
        self.tombstones.clear()
        self.locks.clear()
        self.flush_at = 0.0

    def settle_flush(self) -> None:
        """Do what the engine does first of all when it is given operations."""
        if self.flush_due():
            self.clear()

    def buried(self, key: bytes) -> Tombstone | None:
        tombstone = self.tombstones.get(key)
        return tombstone if tombstone is not None and self.now < tombstone.expiry and self.live(key) is None else None

    def locked(self, key: bytes) -> bool:
        return self.live(key) is not None and self.locks.get(key, 0) > self.now

    def cas_for(self, which: str, key: bytes) -> int:
        self.settle_flush()
        current = self.live(key)
        return {"none": 0, "wrong": 12345, "right": current.cas if current is not None else 7}[which]

    def refusal(self, key: bytes, cas: int = 0, *, adds: bool = False) -> Problem | None:
        """Return why an operation with this CAS is not even tried."""
        current = self.live(key)
        if current is None:
            return Problem.NOT_FOUND if cas else None
        if cas == current.cas:
            return None
        if self.locked(key):
            return Problem.EXISTS if adds else Problem.LOCKED
        return Problem.EXISTS if cas else None

    def mutated(self, outcome, key: bytes, item: Item | None) -> None:
        assert outcome.problem is None
        assert outcome.cas > self.last_cas
        assert outcome.seqno > self.last_seqno
        self.last_cas, self.last_seqno = outcome.cas, outcome.seqno
        self.locks.pop(key, None)
        if item is None:
            self.model.pop(key, None)
        else:
            self.model[key] = item._replace(cas=outcome.cas, seqno=outcome.seqno)
            self.tombstones.pop(key, None)

    def do(self, operation):
        self.settle_flush()
        (outcome,) = self.engine.execute([operation])
        return outcome

    # Operations

    @rule(value=VALUES, expiry=EXPIRIES)
    def fill(self, value, expiry) -> None:
        """Store what is missing: most operations do little where there is nothing."""
        expiry = self.at(expiry)
        self.settle_flush()
        steps = (Step(StepKind.SET_DOCUMENT, b"", value), Step(StepKind.UPSERT, b"x", b"1", xattr=True))
        for key in ALL_KEYS:
            if self.live(key) is None:
                outcome = self.do(Edit(key, steps, expiry, create=True))
                self.mutated(outcome, key, Item(value, 0, expiry, xattrs=b'{"x":1}'))

    @rule(
        key=KEYS,
        value=VALUES,
        expiry=EXPIRIES,
        flags=st.integers(0, 2**32 - 1),
        mode=st.sampled_from(StoreMode),
        which=CAS,
        keep=st.booleans(),
    )
    def store(self, key, value, expiry, flags, mode, which, keep) -> None:
        cas, expiry = self.cas_for(which, key), self.at(expiry)
        current = self.live(key)
        outcome = self.do(Store(key, value, flags, expiry, 1, mode, cas, keep))
        problem = self.refusal(key, cas, adds=mode is StoreMode.ADD)
        if not problem and not cas:
            if mode is StoreMode.ADD and current is not None:
                problem = Problem.EXISTS
            if mode is StoreMode.REPLACE and current is None:
                problem = Problem.NOT_FOUND
        if problem:
            assert outcome.problem is problem
            return
        old = current if current is not None else Item(b"", expiry=expiry)
        self.mutated(outcome, key, Item(value, flags, old.expiry if keep else expiry, 1, xattrs=old.xattrs))

    @rule(key=KEYS, value=VALUES, prepend=st.booleans(), which=CAS)
    def concatenate(self, key, value, prepend, which) -> None:
        cas = self.cas_for(which, key)
        outcome = self.do(Concat(key, value, prepend, max_size=30, cas=cas))
        current = self.live(key)
        if problem := self.refusal(key, cas):
            assert outcome.problem is problem
        elif current is None or len(current.value) + len(value) > 30:
            assert outcome.problem is Problem.NOT_STORED
        else:
            joined = value + current.value if prepend else current.value + value
            self.mutated(outcome, key, current._replace(value=joined, datatype=0))

    @rule(key=KEYS, delta=st.integers(-(2**64) + 1, 2**64 - 1), create=st.booleans(), which=CAS)
    def count(self, key, delta, create, which) -> None:
        cas = self.cas_for(which, key)
        outcome = self.do(Arithmetic(key, delta, 17, 0, create, cas))
        current = self.live(key)
        if problem := self.refusal(key, cas):
            assert outcome.problem is problem
            return
        if current is None:
            if not create:
                assert outcome.problem is Problem.NOT_FOUND
                return
            number, item = 17, Item(b"17")
        else:
            text = current.value.rstrip(b" ")
            if not (text.isdigit() and len(text) <= 20 and int(text) < 2**64):
                assert outcome.problem is Problem.NOT_A_NUMBER
                return
            number = int(text) + delta
            number = 0 if number < 0 else number % 2**64
            item = current._replace(value=b"%d" % number)
        assert outcome.number == number
        self.mutated(outcome, key, item)

    @rule(key=KEYS, which=CAS)
    def delete(self, key, which) -> None:
        cas = self.cas_for(which, key)
        outcome = self.do(Delete(key, cas))
        if problem := self.refusal(key, cas):
            assert outcome.problem is problem
        elif self.live(key) is None:
            assert outcome.problem is Problem.NOT_FOUND
        else:
            self.mutated(outcome, key, None)

    @rule(key=KEYS, expiry=EXPIRIES)
    def touch(self, key, expiry) -> None:
        expiry = self.at(expiry)
        outcome = self.do(Touch(key, expiry))
        current = self.live(key)
        if current is None:
            assert outcome.problem is Problem.NOT_FOUND
        elif self.locked(key):
            assert outcome.problem is Problem.LOCKED
        else:
            self.mutated(outcome, key, current._replace(expiry=expiry))
            assert outcome.item == self.model[key]

    @rule(
        key=KEYS,
        steps=st.lists(STEPS, max_size=4),
        expiry=st.none() | EXPIRIES,
        create=st.booleans(),
        add=st.sampled_from([False, False, False, True]),
        which=CAS,
    )
    def edit(self, key, steps, expiry, create, add, which) -> None:
        cas, expiry = self.cas_for(which, key), None if expiry is None else self.at(expiry)
        operation = Edit(key, tuple(step_of(*step) for step in steps), expiry, 1, create, add, cas, max_size=6)
        outcome = self.do(operation)
        current = self.live(key)
        problem = self.refusal(key, cas, adds=add)
        if not problem and current is None and not (create or add):
            problem = Problem.NOT_FOUND
        if not problem and current is not None and add:
            problem = Problem.EXISTS
        if problem:
            assert outcome.problem is problem
            return
        item = current if current is not None else Item(b"{}", datatype=1)
        attributes = json.loads(item.xattrs or b"{}")
        for number, (what, *arguments) in enumerate(steps):
            if what == "set document":
                item = item._replace(value=b"[%d]" % arguments[1], datatype=1)
            elif what == "delete" and attributes.pop(arguments[0], None) is None:
                assert outcome.problem is Problem.PATH
                assert [result.problem for result in outcome.results] == [None] * number + [PathProblem.NOT_FOUND]
                return
            elif what in ("set", "note CAS"):
                attributes[arguments[0]] = arguments[1] if what == "set" else CAS_MARK
        if ("remove",) in steps:
            if current is not None:
                self.mutated(outcome, key, None)
            assert outcome.problem is None
        elif len(item.value) > 6:
            assert outcome.problem is Problem.TOO_BIG
        else:
            xattrs = json.dumps(attributes, separators=(",", ":")) if attributes else ""
            xattrs = xattrs.replace(CAS_MARK, "0x" + outcome.cas.to_bytes(8, "little").hex())
            item = item._replace(xattrs=xattrs.encode(), expiry=item.expiry if expiry is None else expiry)
            self.mutated(outcome, key, item)

    @rule(
        key=KEYS,
        steps=st.lists(STEPS, max_size=3),
        how=st.sampled_from(["add", "add", "create", "replace", "revive", "revive", "revive or create"]),
        as_tombstone=st.booleans(),
        find=st.sampled_from([True, True, True, False]),
        which=CAS,
        planned=st.booleans(),
        leave=st.sampled_from([True, False, False, False]),
    )
    def edit_deleted(self, key, steps, how, as_tombstone, find, which, planned, leave) -> None:
        """Edit what may be a tombstone, or become one."""
        self.settle_flush()
        if not leave and self.live(key) is not None and not self.locked(key):  # tombstones are rare otherwise
            self.mutated(self.do(Delete(key)), key, None)
        current = self.live(key)
        if current is None and find:
            current = self.buried(key)
        cas = 0 if which == "none" or how == "add" else 12345 if which == "wrong" or current is None else current.cas
        revive = how.startswith("revive")
        operation = Edit(
            key, tuple(step_of(*step) for step in steps), None, 1, how.endswith("create"), how == "add", cas, max_size=30,
            tombstones=find, as_tombstone=as_tombstone and not revive, revive=revive and find,
        )  # fmt: skip
        reader = self.engine.open_reader()
        found = reader.find(key) if find else reader.get(key)
        reader.close()
        outcome = self.do(plan_in_thread(operation, found) if planned else operation)
        self.check_edited(outcome, operation, steps, current)

    def check_edited(self, outcome, operation, steps, current) -> None:
        key, buried = operation.key, isinstance(current, Tombstone)
        adds = operation.add or operation.create
        problem = None if buried else self.refusal(key, operation.cas, adds=operation.add)
        if operation.cas and (current is None or current.cas != operation.cas):
            problem = problem or (Problem.NOT_FOUND if current is None else Problem.EXISTS)
        elif problem is None and current is None and not adds:
            problem = Problem.NOT_FOUND
        elif problem is None and current is not None and operation.add:
            problem = Problem.EXISTS
        elif problem is None and current is not None and operation.revive and not buried:
            problem = Problem.ALIVE
        if problem:
            assert outcome.problem is problem
            return
        item = current if current is not None else Tombstone(b"") if operation.as_tombstone else Item(b"{}", datatype=1)
        attributes = json.loads(item.xattrs or b"{}")
        for what, *arguments in steps:
            if what == "set document":
                item = item._replace(value=b"[%d]" % arguments[1], datatype=1)
            elif what == "delete" and attributes.pop(arguments[0], None) is None:
                assert outcome.problem is Problem.PATH
                return
            elif what in ("set", "note CAS"):
                attributes[arguments[0]] = arguments[1] if what == "set" else CAS_MARK
        if ("remove",) in steps:
            if buried:
                assert outcome.problem is Problem.NOT_FOUND
            elif current is not None:
                self.mutated(outcome, key, None)
            return
        if operation.revive:
            item = Item(*item)
        if isinstance(item, Tombstone):
            if item.value:
                assert outcome.problem is Problem.HAS_VALUE
                return
            if current is None and self.buried(key) is not None:
                assert outcome.problem is (Problem.NOT_STORED if operation.add else Problem.CHANGED)
                return
        xattrs = json.dumps(attributes, separators=(",", ":")) if attributes else ""
        if len(xattrs.replace(CAS_MARK, "0x" + "0" * 16)) > 1024 * 1024:
            return
        xattrs = xattrs.replace(CAS_MARK, "0x" + outcome.cas.to_bytes(8, "little").hex())
        item = item._replace(xattrs=xattrs.encode())
        if not isinstance(item, Tombstone):
            assert not outcome.deleted
            self.mutated(outcome, key, item._replace(expiry=0) if buried else item)
            return
        assert outcome.deleted
        self.mutated(outcome, key, None)
        expiry = math.ceil(self.now + TOMBSTONE_LIFE)
        self.tombstones[key] = item._replace(expiry=expiry, cas=outcome.cas, seqno=outcome.seqno)

    @rule(key=KEYS)
    def find(self, key) -> None:
        self.settle_flush()
        (outcome,) = self.engine.execute([Get(key, tombstones=True)])
        assert outcome.item == (self.live(key) or self.buried(key))
        assert isinstance(outcome.item, Tombstone) == (self.buried(key) is not None)

    @rule(key=KEYS, seconds=st.sampled_from([300, 15, 1]))
    def lock(self, key, seconds) -> None:
        outcome = self.do(Lock(key, seconds))
        current = self.live(key)
        if current is None:
            assert outcome.problem is Problem.NOT_FOUND
        elif self.locked(key):
            assert outcome.problem is Problem.LOCKED
        else:
            self.mutated(outcome, key, current)
            assert outcome.item == self.model[key]
            self.locks[key] = self.now + seconds

    @rule(key=KEYS, which=st.sampled_from(["right", "right", "wrong"]), find=st.booleans())
    def unlock(self, key, which, find) -> None:
        self.settle_flush()
        if find:
            key = next(filter(self.locked, ALL_KEYS), key)
        cas = self.cas_for(which, key)
        outcome = self.do(Unlock(key, cas))
        current = self.live(key)
        if current is None:
            assert outcome.problem is Problem.NOT_FOUND
        elif not self.locked(key):
            assert outcome.problem is Problem.NOT_LOCKED
        elif cas != current.cas:
            assert outcome.problem is Problem.LOCKED
        else:
            assert outcome.problem is None
            del self.locks[key]

    @rule(
        prefix=st.sampled_from([b"a", b"", b"ab", b"\xff", b"none", TOMBSTONE_PREFIX, TOMBSTONE_PREFIX + b"a"]),
        limit=st.sampled_from([1, 1, 2, 1000]),
    )
    def remove(self, prefix, limit) -> None:
        outcome = self.do(Remove(prefix, limit))
        stored = [*self.model, *(TOMBSTONE_PREFIX + key for key in self.tombstones)]
        keys = sorted(key for key in stored if key.startswith(prefix))[:limit]
        assert outcome.number == len(keys)
        for key in keys:
            if key.startswith(TOMBSTONE_PREFIX):
                del self.tombstones[key[1:]]
                continue
            del self.model[key]
            self.locks.pop(key, None)

    @rule(name=st.sampled_from([b"x", b"y"]), value=VALUES)
    def remember(self, name, value) -> None:
        assert self.do(Remember(name, value)).problem is None
        self.memories[name] = value

    @rule(key=KEYS)
    def several_that_are_not_carried_out(self, key) -> None:
        broken = [Delete(key), Store(key, b"lost"), Lock(key, 300), Remember(b"x", b"lost"), Flush(), object()]
        assert {outcome.problem for outcome in self.engine.execute(broken)} == {Problem.FAILED}

    # A flush that is due may be carried out by the writer meanwhile.
    @precondition(lambda self: not self.flush_due())
    @rule()
    def remove_expired(self) -> None:
        assert self.engine.writer.remove_expired() is False
        for key in [key for key in self.model if self.live(key) is None]:
            del self.model[key]
            self.locks.pop(key, None)
        for key in [key for key in self.tombstones if self.buried(key) is None]:
            del self.tombstones[key]

    @rule(key=KEYS, value=VALUES)
    def several_in_one_submission(self, key, value) -> None:
        self.settle_flush()
        if self.locked(key):
            return
        xattrs = self.live(key).xattrs if self.live(key) else b""
        stored, found, deleted, missing = self.engine.execute([Store(key, value), Get(key), Delete(key), Get(key)])
        assert found.item.value == value
        assert found.item.cas == stored.cas
        assert missing.problem is Problem.NOT_FOUND
        assert found.item.xattrs == xattrs
        self.mutated(stored, key, Item(value))
        self.mutated(deleted, key, None)

    @rule(delay=st.sampled_from([50, 50, 5, 0]))
    def flush(self, delay) -> None:
        outcome = self.do(Flush(self.now + delay if delay else 0))
        assert outcome.problem is None
        if delay:
            self.flush_at = self.now + delay
        else:
            self.clear()

    @rule(seconds=st.sampled_from([0.5, 3, 20]))
    def time_passes(self, seconds) -> None:
        self.now += seconds
        self.reader.release()

    @rule(target=snapshots, keys_only=st.sampled_from([False, False, True]), xattrs=st.booleans())
    def take_snapshot(self, keys_only, xattrs):
        if len(self.engine.registry) > 20:
            return multiple()
        expected = []
        for key, item in self.all_live().items():
            if keys_only:
                expected.append((key, item._replace(value=b"", xattrs=b"")))
            else:
                expected.append((key, item if xattrs else item._replace(xattrs=b"")))
        return self.engine.snapshot(keys_only=keys_only, xattrs=xattrs), expected, self.engine

    @rule(taken=snapshots, start=KEYS, end=KEYS)
    def read_snapshot(self, taken, start, end) -> None:
        snapshot, expected, engine = taken
        if engine is self.engine:
            assert [unpacked(*record) for record in snapshot.records()] == expected
            between = [(key, item) for key, item in expected if start <= key < end]
            assert [unpacked(*record) for record in snapshot.records(start, end)] == between

    @rule()
    def restart(self) -> None:
        if self.kind == "lmdb":
            self.reader.close()
            self.engine.close()
            self.engine = self._open()
            self.reader = self.engine.open_reader()
            self.locks.clear()

    @invariant()
    def everything_is_as_in_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        expected = self.all_live()
        self.reader.release()
        keys = [*ALL_KEYS, b"never"]
        for key in keys:
            assert self.reader.get(key) == expected.get(key)
            found = self.reader.find(key)
            assert found == (expected.get(key) or (None if self.flush_due() else self.buried(key)))
            assert isinstance(found, Tombstone) == (found is not None and key not in expected)
        assert self.reader.get_many(keys, 1 << 20) == [expected[key].shown() if key in expected else None for key in keys]
        entries = [(key, entry.size, entry.datatype, entry.cas) for key, entry in self.engine.entries()]
        assert entries == [(key, len(item.value), item.datatype, item.cas) for key, item in expected.items()]

    @invariant()
    def what_is_beside_the_items_is_as_in_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        for name in (b"x", b"y", b"never"):
            assert self.engine.recall(name) == self.memories.get(name)
        if self.flush_due():
            return
        statistics = self.engine.statistics()
        assert (statistics.items, statistics.tombstones) == (len(self.model), len(self.tombstones))
        spaces: dict[bytes, tuple[int, int]] = {}
        for key, item in self.model.items():
            items, size = spaces.get(key[:1], (0, 0))
            spaces[key[:1]] = (items + 1, size + len(key) + len(item.value) + len(item.xattrs))
        assert self.engine.spaces == spaces
        buried: dict[bytes, tuple[int, int]] = {}
        for key, item in self.tombstones.items():
            items, size = buried.get(key[:1], (0, 0))
            buried[key[:1]] = (items + 1, size + len(TOMBSTONE_PREFIX + key) + len(item.xattrs))
        assert self.engine.tombstones == buried
        assert {key for key in ALL_KEYS if self.engine.is_locked(key) and self.live(key)} == {
            key for key in ALL_KEYS if self.locked(key)
        }


def unpacked(key, value, flags, expiry, datatype, cas, seqno) -> tuple[bytes, Item]:
    xattrs = b""
    if datatype & EXTENDED:
        datatype ^= EXTENDED
        xattrs, value = split_extended(value)
    return key, Item(value, flags, expiry, datatype, cas, seqno, xattrs)


class LmdbMachine(EngineMachine):
    kind = "lmdb"


TestMemoryMachine = EngineMachine.TestCase
TestLmdbMachine = LmdbMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestLmdbMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
