"""What of transactions must not be evicted to make room."""

from __future__ import annotations

import pytest

from trio_spool.engine import Bound, Edit, Problem, Step, StepKind, Store, open_engine
from trio_spool.server.data import may_evict, space_of


@pytest.mark.parametrize("prefix", [b"\0", b"\x08", b"\xac\x02"])
@pytest.mark.parametrize(
    ("key", "xattrs", "may"),
    [
        (b"k", b"", True),
        (b"k", b'{"note":1}', True),
        (b"k", b'{"txn":{"id":{}}}', False),
        (b"k", b'{"note":1,"txn":{}}', False),
        (b"_txn:atr-1-#a", b'{"attempts":{}}', False),
        (b"_txn:client-record", b'{"records":{}}', False),
        (b"_txn:atr-1-#a", b"", True),
    ],
)
def test_what_may_go(prefix: bytes, key: bytes, xattrs: bytes, may: bool) -> None:
    assert may_evict(prefix + key, xattrs) is may


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_a_bounded_store_keeps_it(tmp_path, kind: str) -> None:
    options = {"space_of": space_of, "may_evict": may_evict, "bound": Bound(4 * 1024 * 1024)}
    with open_engine(kind, tmp_path / "data", fsync="no", **options) as engine:
        step = (Step(StepKind.UPSERT, b"txn", b'{"op":1}', xattr=True),)
        changed = [b"\0changed%d" % number for number in range(20)]
        buried = [b"\0buried%d" % number for number in range(20)]
        engine.execute([Edit(key, step, create=True) for key in changed])
        engine.execute([Edit(key, step, create=True, tombstones=True, as_tombstone=True) for key in buried])
        for start in range(0, 12_000, 500):
            engine.execute([Store(b"\0%06d" % number, bytes(1000)) for number in range(start, start + 500)])
        assert engine.statistics().evictions > 0
        reader = engine.open_reader()
        assert all(reader.find(key) is not None for key in (*changed, *buried))
        reader.close()


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
@pytest.mark.parametrize("deleted", [True, False])
def test_a_store_that_is_full_of_it_refuses_more(tmp_path, kind: str, deleted: bool) -> None:
    """Else who stages and stages could fill the disk. What was staged can be committed all the same, and what ends makes room."""
    options = {"space_of": space_of, "may_evict": may_evict, "bound": Bound(4 * 1024 * 1024)}
    with open_engine(kind, tmp_path / "data", fsync="no", **options) as engine:
        stage = Step(StepKind.UPSERT, b"txn", b'"%s"' % (b"x" * 1000), xattr=True)

        def edit(number: int) -> Edit:
            return Edit(b"\0%06d" % number, (stage,), create=True, tombstones=deleted, as_tombstone=deleted)

        problems: list[Problem | None] = []
        while Problem.FULL not in problems:
            start = len(problems)
            assert start < 8000
            problems += [outcome.problem for outcome in engine.execute([edit(number) for number in range(start, start + 500)])]
        stored = problems.index(Problem.FULL)
        assert 1000 < stored < 6000
        assert set(problems[stored:]) == {Problem.FULL}
        assert engine.execute([Store(b"\0other", bytes(1000))])[0].problem is Problem.FULL
        unstage = (Step(StepKind.DOCUMENT_FROM_XATTR, b"txn", xattr=True), Step(StepKind.REMOVE, b"txn", xattr=True))
        done = engine.execute([Edit(b"\0%06d" % n, unstage, tombstones=True, revive=deleted) for n in range(stored // 4)])
        assert {outcome.problem for outcome in done} == {None}
        for start in range(20_000, 20_200, 10):  # until the hand has come round to those that may go now
            outcomes = engine.execute([edit(number) for number in range(start, start + 10)])
        assert {outcome.problem for outcome in outcomes} == {None}
        assert engine.statistics().evictions > 0
