"""What the tests of engines share."""

from __future__ import annotations

import pytest

from trio_spool.engine import open_engine


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def _opening(kind, path):
    opened = []

    def open_one(**options):
        options.setdefault("fsync", "no")
        engine = open_engine(kind, path, **options)
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture(params=["memory", "lmdb"])
def make(request, tmp_path):
    yield from _opening(request.param, tmp_path / "data")


@pytest.fixture
def make_lmdb(tmp_path):
    yield from _opening("lmdb", tmp_path / "data")


@pytest.fixture
def options(clock):
    """For engines that count keys by their first letter, and do nothing by themselves."""
    return {"clock": clock, "expiry_interval": 3600, "space_of": lambda key: key[:1]}


@pytest.fixture
def engine(make, options):
    return make(**options)
