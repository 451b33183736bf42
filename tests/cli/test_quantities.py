"""Sizes and times with units: what is taken, what is refused, and how defaults are shown."""

from __future__ import annotations

import math
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.cli import main
from trio_spool.cli._quantities import Duration, Expiry, Rate, Size, WholeSeconds, format_duration, format_size
from trio_spool.cli._serve import serve

NOW = 1_800_000_000.25


def taken(kind: click.ParamType, value: object) -> object:
    return kind.convert(value, None, None)


def refusal(kind: click.ParamType, value: object) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(value, None, None)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("17", 17), (17, 17), ("17b", 17), ("64k", 65536), ("64K", 65536), ("64KiB", 65536), ("64kib", 65536),
        ("64 KiB", 65536), ("64kB", 64000), ("10MB", 10_000_000), ("10m", 10 << 20), ("1g", 1 << 30), ("1GiB", 1 << 30),
        ("1.5G", 3 << 29), ("2T", 2 << 40), ("0.5k", 512), (" 1k ", 1024), ("-1", -1),
    ],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert taken(Size(), text) == size


@pytest.mark.parametrize(
    "text", ["", "k", "1x", "1kk", "1e3", "0x10", "1.k", ".5k", "nan", "inf", "1 2", "1k2", "\uff11k", "9" * 500]
)
def test_what_is_no_size(text: str) -> None:
    message = refusal(Size(), text)
    assert f"{text!r:.100} is not a size: it must be bytes, or a number with K, M, G or T" in message
    assert "64K, 1.5GiB or 10MB" in message
    assert len(message) < 400


def test_a_part_of_a_byte() -> None:
    assert refusal(Size(), "1.3k") == "'1.3k' is not a whole number of bytes"
    assert taken(Size(), "1.25k") == 1280


def test_bounds_of_a_size() -> None:
    assert taken(Size(1, 1024), "1k") == 1024
    assert refusal(Size(1, 1024), "2k") == "'2k' is more than 1KiB"
    assert refusal(Size(2048), "1k") == "'1k' is less than 2KiB"


def test_rates() -> None:
    assert taken(Rate(), "1MiB/s") == taken(Rate(), "1m") == 1 << 20
    assert refusal(Size(), "1MiB/s").startswith("'1MiB/s' is not a size")
    assert refusal(Rate(), "1/h").startswith("'1/h' is not a rate")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("30", 30), (30, 30), (2.5, 2.5), ("2.5", 2.5), ("1e3", 1000), ("2s", 2), ("500ms", 0.5), ("50us", 5e-5),
        ("50µs", 5e-5), ("10m", 600), ("10min", 600), ("1h", 3600), ("1.5h", 5400), ("1h30m", 5400), ("1h 30m", 5400), ("1d", 86400),
        ("1w", 604800), ("2S", 2), (" 2s ", 2), ("inf", math.inf), ("INF", math.inf), ("never", math.inf), (math.inf, math.inf),
    ],
)  # fmt: skip
def test_times(text: str | float, seconds: float) -> None:
    assert taken(Duration(), text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1x", "-1", "-1s", "nan", "1m1", "1..5s", "soon", "1s,2s", "10 m m", "1" * 500])
def test_what_is_no_time(text: str) -> None:
    message = refusal(Duration(), text)
    assert "is not a time: it must be seconds, or numbers with us, ms, s, m, h, d or w" in message
    assert message.endswith("such as 500ms, 2s, 10m or 1h30m, or inf for no limit")
    assert len(message) < 300


def test_bounds_of_a_time() -> None:
    assert refusal(Duration(endless=False), "inf") == "'inf' can't be used here: there must be a limit"
    assert refusal(Duration(), 16**5000) == "the number is too large for a time"
    assert refusal(Duration(positive=True), "0s") == "'0s' is not more than 0"
    assert "no limit" not in refusal(Duration(endless=False), "x")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("never", 0), ("inf", 0), ("10m", 600), ("1000ms", 1), (5, 5), ("1.5m", 90)]
)  # fmt: skip
def test_whole_seconds(text: str | int, seconds: int) -> None:
    assert taken(WholeSeconds(1000), text) == seconds


def test_what_is_not_whole_seconds() -> None:
    assert refusal(WholeSeconds(1000), "1500ms") == "'1500ms' is not whole seconds, in which servers count this time"
    assert refusal(WholeSeconds(1000), "1h") == "'1h' is more than 1000 seconds, the maximum"
    assert refusal(WholeSeconds(1000), "soon").endswith("or never")


@pytest.mark.parametrize(
    ("text", "expiry"),
    [
        ("0", 0), ("never", 0), ("10m", 600), ("30d", 2592000),
        ("2592000", 2592000), ("2592001", 2592001), ("1900000000", 1_900_000_000),  # as the protocol has them
        ("31d", 1_800_000_001 + 31 * 86400), ("2592001s", 1_800_000_001 + 2592001),
    ],
)  # fmt: skip
def test_expiries(text: str, expiry: int) -> None:
    assert taken(Expiry(lambda: NOW), text) == expiry


def test_an_expiry_beyond_the_protocol() -> None:
    assert taken(Expiry(lambda: NOW), "4294967295") == 2**32 - 1
    assert refusal(Expiry(lambda: NOW), "4294967296") == "'4294967296' is more than 4294967295 seconds, the maximum"
    assert "is more than" in refusal(Expiry(lambda: NOW), "5000w")


@given(st.integers(0, 1 << 50))
def test_a_shown_size_is_that_size(size: int) -> None:
    assert taken(Size(), format_size(size)) == size


@given(st.integers(0, 10**12))
def test_a_shown_time_is_that_time(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert taken(Duration(), format_duration(seconds)) == seconds


def test_shown_as_people_say_it() -> None:
    assert [format_size(size) for size in (0, 1023, 320 * 1024, 20 << 20, 1 << 30)] == ["0", "1023", "320KiB", "20MiB", "1GiB"]
    times = (0, 0.0005, 0.25, 2.5, 30.0, 90, 300, 3600, 86400, math.inf)
    assert [format_duration(time) for time in times] == [
        "0", "500us", "250ms", "2500ms", "30s", "90s", "5m", "1h", "1d", "inf",
    ]  # fmt: skip


def test_options_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "spool.toml"
    config.write_text('window = "64k"\nbatch = 4096\nsend-timeout = "1m"\ndrain-timeout = 2.5\nmin-read-rate = "1KiB/s"\n')
    monkeypatch.setenv("TRIO_SPOOL_LOOK_AHEAD", "1MiB")
    monkeypatch.setenv("TRIO_SPOOL_IDLE_TIMEOUT", "inf")
    arguments = ["--config", str(config), "--max-item-size", "10MB", "--login-timeout", "500ms", "--scrub-rate", "2m"]
    params = serve.make_context("serve", arguments).params
    assert {name: params[name] for name in ("window", "batch", "look_ahead", "max_item_size", "min_read_rate", "scrub_rate")} == {
        "window": 65536, "batch": 4096, "look_ahead": 1 << 20, "max_item_size": 10_000_000, "min_read_rate": 1024,
        "scrub_rate": 2 << 20,
    }  # fmt: skip
    times = ("send_timeout", "drain_timeout", "idle_timeout", "login_timeout", "frame_timeout")
    assert [params[name] for name in times] == [60, 2.5, math.inf, 0.5, 120]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('window = "64q"', "sets window = \"64q\": '64q' is not a size: it must be bytes, or a number with K"),
        ('window = "0k"', 'sets window = "0k": window must be from 1 to'),
        ("window = 1.5", "sets window = 1.5; it must be a whole number, or in quotes bytes, or a number with K"),
        ('keepalive = "10ms"', 'sets keepalive = "10ms": keepalive must be from 1 to 32767 seconds, or inf; got 0.01'),
        ('keepalive = "soon"', "sets keepalive = \"soon\": 'soon' is not a time"),
    ],
)
def test_refusals_in_the_file(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "spool.toml"
    config.write_text(content)
    result = CliRunner().invoke(main, ["serve", "--config", str(config)])
    assert result.exit_code == 2
    assert message in result.output


def test_defaults_are_readable() -> None:
    output = " ".join(CliRunner().invoke(main, ["serve", "--help"], terminal_width=200).output.split())
    for default in ("320KiB", "20MiB", "1GiB", "1MiB/s", "30s", "2m", "1h", "10s"):
        assert f"default: {default}]" in output, default


@pytest.mark.parametrize("text", ["9" * 309, "9" * 308 + "d", "1e309"])
@pytest.mark.parametrize("kind", [Duration(), WholeSeconds(1000), Expiry(lambda: NOW)])
def test_a_number_of_many_digits_is_not_for_ever(kind: click.ParamType, text: str) -> None:
    assert refusal(kind, text) == "the number is too large for a time"
