"""The configuration file: what is taken, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from trio_spool.cli import main
from trio_spool.cli._serve import serve

OPTIONS = {option.name: option for option in serve.params if option.name != "config"}

# A value of every type of TOML, as it is written, and as a message shows it.
VALUES = {
    "text": '"x"',
    "whole": "5",
    "fraction": "1.5",
    "true": "true",
    "list": "[1]",
    "texts": '["x"]',
    "empty": "[]",
    "table": "{ a = 1 }",
    "day": "2020-01-02",
    "time": "01:02:03",
    "moment": "2020-01-02T01:02:03Z",
    "nan": "nan",
    "infinity": "inf",
    "large": "1" + "0" * 400,
    "digits": "0x" + "f" * 5000,
}
SHOWN = {
    **VALUES,
    "table": '{"a": 1}',
    "moment": "2020-01-02 01:02:03+00:00",
    "large": "1" + "0" * 98 + "…",
    "digits": "a number of",
}
ENDLESS = {"login_timeout", "frame_timeout", "idle_timeout", "keepalive", "send_timeout", "drain_timeout", "slow_log"}
TIMES = ENDLESS | {"max_scan_life", "snapshot_idle", "switch_interval"}
SHARES = {"bucket_share", "user_share"}
FLAGS = {
    "allow_network_storage",
    "metrics_public",
    "no_auth",
    "tls_client_required",
    "disable_flush",
    "hide_keys",
    "verbose",
    "verify_reads",
}
PATHS = {"data_dir", "users", "tls_cert", "tls_key", "tls_client_ca"}
WORDS = {"engine", "evict", "fsync", "protocols", "log_level", "log_format"}
COUNTS = set(OPTIONS) - TIMES - SHARES - FLAGS - PATHS - WORDS - {"listen", "advertise", "management", "metrics", "unix_mode"}


def taken(option: str, kind: str) -> bool:
    """Whether a value of that kind is one that the option takes."""
    if option in TIMES:
        return kind in ("whole", "fraction") or (kind == "infinity" and option in ENDLESS)
    if option in SHARES:
        return False
    if option in FLAGS:
        return kind == "true"
    if option in PATHS:
        return kind == "text"
    if option in WORDS | {"unix_mode", "max_size"}:  # a bound of 5 bytes is too small
        return False
    if option in ("advertise", "management", "metrics"):
        return kind in ("text", "texts", "empty")
    return kind in ("text", "texts") if option == "listen" else kind == "whole"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "spool.toml"


def refusal(config: Path) -> str:
    result = CliRunner().invoke(main, ["serve", "--config", str(config)])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert str(config) in line
    return line


def read(config: Path) -> dict[str, Any]:
    """What the command would be run with."""
    context: click.Context = serve.make_context("serve", ["--config", str(config)])
    return context.params


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_with_every_type(config: Path, option: str, kind: str) -> None:
    key = option.replace("_", "-")
    config.write_text(f"{key} = {VALUES[kind]}\n", encoding="utf-8")
    if taken(option, kind):
        expected: Any = {
            "text": "x", "texts": ("x",), "empty": (), "whole": 5, "fraction": 1.5, "true": True, "infinity": float("inf")
        }[kind]  # fmt: skip
        if option in PATHS:
            expected = Path("x")
        elif option in ("listen", "advertise", "management", "metrics"):
            expected = ("x",) if expected else ()
        assert read(config)[option] == expected
    else:
        assert f"{config} sets {key} = {SHOWN[kind]}" in refusal(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("vbuckets = 1.5", "sets vbuckets = 1.5; it must be a whole number"),
        (
            "login_timeout = true",
            "sets login_timeout = true; it must be a number of seconds, or in quotes seconds, or numbers with us",
        ),
        ("no-auth = 2", "sets no-auth = 2; it must be true or false"),
        ("users = 5", "sets users = 5; it must be a path in quotes"),
        (r'users = "a\u0000b"', r'sets users = "a\u0000b"; it must be a path in quotes'),
        ('users = "/"', "is a directory"),
        ("listen = [5]", "sets listen = [5]; it must be text in quotes, or a list of texts in quotes"),
        ("listen = []", "nothing to listen on"),
        ('engine = "papyrus"', 'sets engine = "papyrus"; it must be one of "lmdb", "memory"'),
        ("vbuckets = 2000", "vbuckets must be from 1 to 1024; got 2000"),
        ("drain-timeout = nan", "got nan"),
        ("bucket-share = 2", "sets bucket-share = 2: bucket-share must be from 0.01 to 1, which is the whole; got 2"),
        ("min-read-rate = -1", "min-read-rate must be from 0 to"),
        ("keepalive = 0.5", "keepalive must be from 1 to 32767 seconds, or inf; got 0.5"),
        ("unix-mode = 660", 'sets unix-mode = 660; it must be octal permission bits in quotes, such as "0660"'),
        ('unix-mode = "0999"', "'0999' is not permission bits in octal, such as 0660"),
        ('unix-mode = "-1"', "'-1' is not permission bits in octal"),
        ('unix-mode = "1777"', "'1777' is not permission bits in octal"),
        ("max-scans = 4\nmax_scans = 5", "sets max_scans twice"),
        (r'"a\nb" = 1', r'sets "a\nb"; the options are'),
        ("window = " + "1" * 5000, "is not valid TOML"),
        ("window = " + "[" * 100_000, "lists are too deeply nested"),
    ],
)
def test_refusals(config: Path, content: str, message: str) -> None:
    config.write_text(content, encoding="utf-8")
    assert message in refusal(config)


def test_what_is_not_utf_8(config: Path) -> None:
    config.write_bytes(b'users = "\xff"')
    assert "is not valid TOML" in refusal(config)


@pytest.mark.parametrize("text", ["0660", "660", "0o660"])
def test_permission_bits(config: Path, text: str) -> None:
    config.write_text(f'unix-mode = "{text}"')
    assert read(config)["unix_mode"] == 0o660
    assert serve.make_context("serve", ["--unix-mode", text]).params["unix_mode"] == 0o660
    assert serve.make_context("serve", []).params["unix_mode"] == 0o700


@pytest.mark.parametrize(
    ("value", "seconds"), [("'none'", 0), ("'None'", 0), ("0", 0), ("inf", float("inf")), ("'100ms'", 0.1), ("0.5", 0.5), ("2", 2)]
)
def test_the_slow_log_has_words_for_off(config: Path, value: str, seconds: float) -> None:
    config.write_text(f"slow-log = {value}\n")
    assert read(config)["slow_log"] == seconds
    if value[0] == "'":
        assert serve.make_context("serve", ["--slow-log", value.strip("'")]).params["slow_log"] == seconds


@pytest.mark.parametrize("value", ["'nothing'", "-1", "true"])
def test_what_the_slow_log_does_not_take(config: Path, value: str) -> None:
    config.write_text(f"slow-log = {value}\n")
    assert "slow-log" in refusal(config)


def test_a_single_address(config: Path) -> None:
    config.write_text('listen = "tcp://127.0.0.1:5"')
    assert read(config)["listen"] == ("tcp://127.0.0.1:5",)


def test_the_file_is_weaker_than_the_command_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('listen = "unix:file"\nworkers = 3\nvbuckets = 3\nno-auth = true\n')
    monkeypatch.setenv("TRIO_SPOOL_WORKERS", "4")
    monkeypatch.setenv("TRIO_SPOOL_NO_AUTH", "0")
    arguments = ["--config", str(config), "--listen", "unix:line"]
    params = serve.make_context("serve", arguments).params
    assert (params["listen"], params["workers"], params["vbuckets"], params["no_auth"]) == (("unix:line",), 4, 3, False)


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "data_dir"])
def test_every_option_is_also_a_variable(option: str) -> None:
    assert OPTIONS[option].envvar == "TRIO_SPOOL_" + option.upper()


def test_verbose_by_a_variable(start) -> None:
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0", env={"TRIO_SPOOL_VERBOSE": "1"}) as process:
        _, log = process.stop()
    assert "SIGTERM" in log
