"""The engines by name, and engines that a program brings itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trio_spool.engine import ENGINES, EngineKind, EngineOptions, MemoryEngine, Store, find_engine, open_engine


def test_kinds() -> None:
    assert {name: (kind.name, kind.needs_directory) for name, kind in ENGINES.items()} == {
        "lmdb": ("lmdb", True),
        "memory": ("memory", False),
    }
    assert find_engine("memory") is ENGINES["memory"]
    with pytest.raises(ValueError, match="no engine is named 'papyrus': choose lmdb or memory"):
        find_engine("papyrus")


@pytest.mark.parametrize(("fsync", "durable"), [("always", True), ("everysec", False), ("no", False)])
def test_only_synced_commits_are_durable(make_lmdb, fsync: str, durable: bool) -> None:
    engine = make_lmdb(fsync=fsync)
    assert (engine.kind, engine.fsync, engine.durable, engine.local) == ("lmdb", fsync, durable, True)


def test_memory_is_not_durable() -> None:
    with open_engine("memory", fsync="always") as engine, open_engine("memory") as other:
        assert (engine.kind, engine.durable, engine.local) == ("memory", False, True)
        assert engine.identity != other.identity


def test_an_engine_of_ones_own(tmp_path) -> None:
    class Slow(MemoryEngine):
        kind = "slow"
        local = False

    given = []

    def open_slow(options: EngineOptions) -> Slow:
        given.append(options)
        return Slow()

    slow = EngineKind("slow", needs_directory=True, open=open_slow)
    assert find_engine(slow) is slow
    with open_engine(slow, tmp_path, fsync="no", max_snapshots=3) as engine:
        assert engine.execute([Store(b"k", b"v")])[0].problem is None
        assert not engine.local
    (options,) = given
    assert (options.directory, options.fsync, options.max_snapshots) == (tmp_path, "no", 3)


def test_the_kinds_and_the_memory_engine_do_not_load_lmdb() -> None:
    script = """
import sys
from trio_spool.engine import ENGINES, open_engine
assert ENGINES["lmdb"].needs_directory
open_engine("memory").close()
assert "lmdb" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
