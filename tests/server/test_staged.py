"""What of transactions must not be evicted to make room."""

from __future__ import annotations

import pytest

from trio_spool.engine import Bound, Edit, Step, StepKind, Store, open_engine
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
