"""Crashes of the machine at any moment of a long run: what LMDB wrote is replayed up to it, with any part of what was not synced."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import pytest

from support.power_loss import contents_of, open_at, record
from support.soaking import scaled
from trio_spool.engine import MARKER, Store

COMMITS = scaled(8, 60)
SEEDS = scaled(1, 12)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_crashes(tmp_path: Path, fsync: str) -> None:
    """A run that syncs is, after each crash, what it was at some commit, and not before the last sync."""
    path = tmp_path / "used"
    recorder, models = record(path, fsync, COMMITS, seed=7)
    marker = (path / MARKER).read_bytes()
    began = next(number for number, event in enumerate(recorder.events) if event is not None and event[0] == "seqno")
    count = 0
    logging.disable(logging.WARNING)  # each start says that the machine has crashed
    try:
        for seed in range(SEEDS):
            for crash in islice(recorder.crashes(seed), began, None, 7):
                crashed = tmp_path / f"crashed{count}"
                crash.put(crashed, marker)
                with open_at(crashed, fsync, "second") as engine:
                    assert contents_of(engine) == models[engine.seqno]
                    assert engine.seqno >= crash.synced
                    engine.execute([Store(b"new", b"v")])
                for file in crashed.iterdir():
                    file.unlink()
                crashed.rmdir()
                count += 1
    finally:
        logging.disable(logging.NOTSET)
    assert count > scaled(10, 2000)
