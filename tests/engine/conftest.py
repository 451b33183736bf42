"""What the tests of engines share."""

from __future__ import annotations

import pytest

from support.storage import Faults
from trio_spool.engine import EngineOptions, open_engine
from trio_spool.engine.lmdb._engine import LmdbEngine
from trio_spool.engine.lmdb._room import has_room


@pytest.fixture
def faults():
    return Faults()


def _opening(open_one):
    opened = []

    def open_and_remember(**options):
        options.setdefault("fsync", "no")
        engine = open_one(**options)
        opened.append(engine)
        return engine

    yield open_and_remember
    for engine in opened:
        engine.close()


@pytest.fixture(params=["memory", "lmdb"])
def make(request, tmp_path):
    yield from _opening(lambda **options: open_engine(request.param, tmp_path / "data", **options))


@pytest.fixture
def make_lmdb(tmp_path):
    yield from _opening(lambda **options: open_engine("lmdb", tmp_path / "data", **options))


@pytest.fixture
def make_faulty(tmp_path, faults):
    """For an engine lmdb with the faults of a test."""

    def open_one(sync_interval=1.0, has_room=has_room, **options):
        return LmdbEngine(
            EngineOptions(directory=tmp_path / "data", **options),
            open_environment=faults.open_environment,
            sync_interval=sync_interval,
            has_room=has_room,
        )

    yield from _opening(open_one)


@pytest.fixture
def options(clock):
    """For engines that count keys by their first letter, and do nothing by themselves."""
    return {"clock": clock, "steady_clock": clock, "expiry_interval": 3600, "space_of": lambda key: key[:1]}


@pytest.fixture
def engine(make, options):
    return make(**options)
