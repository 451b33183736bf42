"""A disk that fails at each write and each sync of a commit in turn, below the real LMDB."""

from __future__ import annotations

import pytest

from support.disk_faults import build, run_failing_engine


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def run(library, tmp_path):
    """Run one of the scenarios of the script, and return what it says."""
    return lambda scenario, *arguments: run_failing_engine(library, tmp_path, scenario, *arguments)


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_each_call_in_turn(run, fsync: str) -> None:
    """What is refused is not there, what is acknowledged is, and whoever comes next is served."""
    said = run("each", fsync)
    assert set(said["calls"]) >= ({"p", "v", "s"} if fsync != "no" else {"p", "v"})
    assert said["faults"] == said["refused"] + said["failed"] + said["unnoticed"]
    if fsync == "everysec":
        assert said["failed"] > 0  # its sync
    else:
        assert said["failed"] == 0
    assert said["refused"] > 10


@pytest.mark.parametrize("how", ["BEFORE", "AFTER"])
def test_a_disk_that_fails_three_times_in_a_row(run, how: str) -> None:
    assert run("for ever", "always", "EIO", how) == {
        "problems": ["no space", "no space", "EngineFailedError"],
        "after": "EngineFailedError",
        "read": True,
    }


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_a_disk_that_stays_full(run, fsync: str) -> None:
    """As long as it does: then everything goes on."""
    assert run("for ever", fsync, "ENOSPC", "BEFORE") == {"problems": ["no space"] * 10, "after": None, "read": True}


def test_a_commit_of_which_nobody_knows_whether_it_took_place(run) -> None:
    """The meta page was written, though the disk said that it failed, and could not be put back."""
    assert run("unknown") == {"error": "EngineFailedError", "found": True}


def test_nobody_who_reads_notices_that_the_environment_is_opened_again(run) -> None:
    assert run("readers") == {"panics": True, "failures": [], "read": True}
