"""``stat timings``: a table with units."""

from __future__ import annotations

import json

import pytest

from support.commands import one_line, run, run_json
from support.hostile import playing
from trio_spool.cli._timings import Timings, show_microseconds
from trio_spool.mcbp import Opcode, Status, encode_response


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [
        (0, "0 us"), (0.25, "0.25 us"), (7, "7 us"), (185, "185 us"), (999, "999 us"), (1000, "1 ms"), (1234, "1.23 ms"), (14778, "14.8 ms"),
        (999_999, "1000 ms"), (1_000_000, "1 s"), (12_345_678, "12.3 s"), (3_600_000_000, "3600 s"),
    ],
)  # fmt: skip
def test_units(microseconds: float, shown: str) -> None:
    assert show_microseconds(microseconds) == shown


def served(**rows: str) -> bytes:
    frames = [encode_response(Opcode.STAT, 0, 0, key=name.encode(), value=value.encode()) for name, value in rows.items()]
    return b"".join([*frames, encode_response(Opcode.STAT, 0, 0)])


ROWS = {
    "get_count": "1200",
    "get_mean": "185",
    "get_p50": "171",
    "get_p99": "14778",
    "get_max": "20000",
    "get_with_meta_count": "3",
    "other": "x",
}


def test_a_table() -> None:
    with playing({Opcode.STAT: served(**ROWS)}) as here:
        assert run("stat", here, "timings") == "get\t1200\t185 us\t171 us\t14.8 ms\nget_with_meta\t3\t\t\t\nother\tx\n"
        for columns in (40, 80, 200):
            shown = run("stat", here, "timings", env={"COLUMNS": str(columns)})
            assert all(len(line) <= columns for line in shown.splitlines())
            assert all(word in shown for word in ("command", "count", "p99", "14.8 ms", "get_with_meta"))
        assert run_json("stat", here, "timings") == {
            "get": {"count": 1200, "mean": 185, "p50": 171, "p99": 14778, "max": 20000},
            "get_with_meta": {"count": 3},
            "other": "x",
        }


def test_a_figure_that_is_no_number() -> None:
    with playing({Opcode.STAT: served(get_count="many", get_p50="1")}) as here:
        assert run("stat", here, "timings") == "get\t\t\t1 us\t\nget_count\tmany\n"


def test_a_server_without_timings() -> None:
    with playing({Opcode.STAT: encode_response(Opcode.STAT, Status.NOT_FOUND, 0)}) as here:
        assert "no group of statistics 'timings'" in one_line("stat", here, "timings")


def test_too_many_rows() -> None:
    timings = Timings()
    for number in range(10_000):
        timings.add(f"{number}_count", "1")
    with pytest.raises(Exception, match="more than 10000 rows"):
        timings.add("x", "1")
    assert len(json.loads(timings.as_json())) == 10_000
