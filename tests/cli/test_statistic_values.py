"""``stat --json`` gives each value the type that the server's own row has, and loses nothing on the way."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.commands import run, run_json
from trio_spool.cli._statistic_values import value_as_json
from trio_spool.server.shared import EVERYTHING
from trio_spool.server.statistics import GROUPS, as_text, ask
from trio_spool.testing import running_server

# Rows of texts that are numbers all the same: they are shown with a fixed number of digits.
DECIMALS = {"rusage_user", "rusage_system", "growth_factor"}
# Rows of booleans in the words of other servers; and rows of numbers that are names, and have more digits than many programs read.
BOOLEANS = {"key_is_dirty": False, "detail_enabled": False}
IDENTIFIERS = ("vb_0:uuid", "vb_0:0:id")
ARGUMENTS = {"detail": "dump", "cachedump": "1 0", "key": "123 0"}


def typed(group: str, name: str, value: str) -> object:
    return json.loads(value_as_json(group, name, value))


@pytest.mark.parametrize("group", sorted(set(GROUPS) - {"reset"}))
async def test_the_types_of_the_rows(run_service, group: str) -> None:
    """Settings and names are those that look most like something else."""
    async with run_service(engine="memory") as service:
        shared = service.inside
        shared.settings = attrs.evolve(shared.settings, fsync="no", users="1234", data_dir="12", slow_log=2.5)
        shared.timings.record("get", 0.001, 3)
        async with service.connect() as raw:
            await raw.call(1, key=b"123", value=b"5", extras=bytes(8))
            wanted = f"{group} {ARGUMENTS[group]}" if group in ARGUMENTS else group
            rows = list(ask(shared, shared.buckets.default, EVERYTHING, wanted))
    looked_at = 0
    for row, (name, value) in zip(rows, as_text(rows), strict=True):
        found = typed(wanted, name.decode(), value.decode())
        expected = BOOLEANS.get(name.decode(), getattr(row, "value", None))
        if name.decode().endswith(IDENTIFIERS) or isinstance(expected, Path):
            expected = str(expected)
        if isinstance(expected, str) and expected[:1] in ("{", "["):
            assert isinstance(found, (dict, list)), name
        elif name.decode() in DECIMALS:
            assert found == float(value)
        elif group in ("keys", "cachedump"):
            assert found == value.decode()
        else:
            assert (found, type(found)) == (expected, type(expected)), name
        looked_at += 1
    assert looked_at or group in ("items", "slabs", "sizes", "range-scans", "snapshots", "incidents", "detail")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n", "12345678901234567890123", 12345678901234567890123),
        ("n", "-5", -5),
        ("n", "0", 0),
        ("n", "1e-05", 1e-05),
        ("n", "12e5", "12e5"),  # hexadecimal digits
        ("n", "007", "007"),
        ("n", "+7", "+7"),
        ("n", "0x1f", "0x1f"),
        ("n", "1_000", "1_000"),
        ("n", " 1", " 1"),
        ("n", "1\n", "1\n"),
        ("n", "١٢", "١٢"),
        ("n", "nan", "nan"),
        ("n", "", ""),
        ("n", "1.0.0", "1.0.0"),
        ("version", "1.6", "1.6"),
        ("ep_version", "7", "7"),
        ("vb_0:0:id", "123", "123"),
        ("0x8:0x9:name", "yes", "yes"),
        ("on", "yes", True),
        ("on", "no", False),
        ("on", "true", True),
        ("on", "on", "on"),
        ("o", '{"a": [1, null, "\\u001b"]}', {"a": [1, None, "\x1b"]}),
        ("o", '{"a": 1', '{"a": 1'),
        ("o", '{"a": NaN}', '{"a": NaN}'),
        ("o", '{"a": 1e999}', '{"a": 1e999}'),
        ("o", "[" * 100_000, "[" * 100_000),
        ("o", "[::1]:11210", "[::1]:11210"),
    ],
)
def test_by_its_form(name: str, value: str, expected: object) -> None:
    found = typed("", name, value)
    assert (found, type(found)) == (expected, type(expected))


def test_all_digits_stay() -> None:
    """They are what the server sent, for programs that read more digits than others."""
    assert value_as_json("", "n", "0.100000000000000000001") == "0.100000000000000000001"
    assert value_as_json("", "n", "9" * 5000) == "9" * 5000


def test_a_bucket_has_any_name() -> None:
    assert typed("buckets", "version", "12") == 12
    assert typed("buckets", "b", "broken: its file is damaged") == "broken: its file is damaged"


@given(st.text(), st.text() | st.from_regex(r"\A[-0-9.e+{}\[\]\",: ]*\Z"))
@example("n", "-")
def test_it_is_json(name: str, value: str) -> None:
    assert isinstance(value_as_json("", name, value), str)
    json.loads(value_as_json("", name, value))


def test_the_command() -> None:
    with running_server(thread=True) as server:
        run("set", server.address, "k", "v")
        general = run_json("stat", server.address)
        assert (general["curr_items"], general["cmd_set"], isinstance(general["version"], str)) == (1, 1, True)
        timings = run_json("stat", server.address, "timings")
        assert set(timings["set"]) == {"count", "mean", "p50", "p90", "p99", "p999", "max"}
        assert timings["set"]["count"] == 1
        connection = next(iter(run_json("stat", server.address, "connections").values()))
        assert connection["spool"]["window"] > 0
        assert run_json("stat", server.address, "reset") == {}
        assert run("stat", server.address, "nothing", "--json", status=1).startswith("Error: ")
