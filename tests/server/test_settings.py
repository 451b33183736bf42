"""What settings are taken, and what is said of those that are not."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from trio_spool.mcbp import HEADER, MAX_FRAME, MAX_VALUE, Opcode, encode_request
from trio_spool.server import Settings, SettingsError

NAMES = [field.name for field in attrs.fields(Settings)]
DEFAULTS = {field.name: field.default for field in attrs.fields(Settings)}
SHARES = ["bucket_share", "user_share"]
RATES = ["max_size", "min_read_rate", "max_stream_rate", "scrub_rate"]
FLOATS = [name for name in NAMES if isinstance(DEFAULTS[name], float) and name not in SHARES]
INTS = [name for name in NAMES if type(DEFAULTS[name]) is int and name != "unix_mode"]
BOOLS = [name for name in NAMES if isinstance(DEFAULTS[name], bool)]
PATHS = ["data_dir", "users", "tls_cert", "tls_key", "tls_client_ca"]
TIMES_WITHOUT_END = ["login_timeout", "frame_timeout", "idle_timeout", "keepalive", "send_timeout", "drain_timeout", "slow_log"]


class Spelled:
    """What stands for a path."""

    def __fspath__(self) -> str:
        return "x/y"


def refusal(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    message = str(caught.value)
    assert len(message) < 300
    assert "\n" not in message
    return message


def test_every_setting_is_of_a_kind() -> None:
    assert sorted(
        [
            *FLOATS,
            *INTS,
            *BOOLS,
            *PATHS,
            *SHARES,
            "listen",
            "advertise",
            "management",
            "protocols",
            "metrics",
            "engine",
            "fsync",
            "log_level",
            "evict",
            "unix_mode",
        ]
    ) == sorted(NAMES)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(
    "value", [math.nan, -math.inf, -1, 1e300, 10**400, pytest.param(10**5000, id="digits"), True, "1", None, [1.0]]
)
def test_what_is_no_number_of_seconds(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(name.replace("_", "-") + " must be ")


@pytest.mark.parametrize("name", FLOATS)
def test_infinity_is_taken_where_something_may_last_for_ever(name: str) -> None:
    if name in TIMES_WITHOUT_END:
        assert getattr(Settings(**{name: math.inf}), name) == math.inf
    else:
        assert refusal(**{name: math.inf}).endswith("; got inf")


@pytest.mark.parametrize("name", INTS)
@pytest.mark.parametrize(
    "value", [0, -1, 1.5, 1.0, math.nan, 999999999999999999999, pytest.param(10**5000, id="digits"), True, "1", None, [1]]
)
def test_what_is_no_whole_number(name: str, value: object) -> None:
    if value == 0 and type(value) is int and name in RATES:
        assert getattr(Settings(**{name: 0}), name) == 0  # no limit
        return
    assert refusal(**{name: value}).startswith(name.replace("_", "-") + " must be ")


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [0, 0.009, 1.01, -0.5, 2, math.nan, math.inf, 10**400, True, "0.5", None])
def test_what_is_no_share(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(name.replace("_", "-") + " must be ")


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [0.01, 0.5, 1, 1.0])
def test_shares(name: str, value: float) -> None:
    assert getattr(Settings(**{name: value}), name) == value


def test_what_all_connections_may_hold_has_room_for_some_values() -> None:
    least = Settings().least_buffered
    assert Settings(max_buffered=least).max_buffered == least
    assert refusal(max_buffered=least - 1) == (
        f"max-buffered must be at least {least}, for four values of max-item-size (20971520); got {least - 1}"
    )
    assert Settings(max_buffered=least - 1, max_item_size=1024).least_buffered < least


def test_what_can_change_while_a_service_runs() -> None:
    old = Settings(max_jobs=2, workers=3)
    new = Settings(max_jobs=5, workers=3, vbuckets=4, idle_timeout=1.5)
    taken, changed, fixed = old.changed_to(new)
    assert taken == Settings(max_jobs=5, workers=3, idle_timeout=1.5)
    assert (sorted(changed), fixed) == (["idle_timeout", "max_jobs"], ["vbuckets"])
    assert old.changed_to(old) == (old, [], [])


@pytest.mark.parametrize("value", [-1, 0o1000, 7.0, "0700", None, True, pytest.param(10**5000, id="digits")])
def test_what_are_no_permissions(value: object) -> None:
    assert refusal(unix_mode=value).startswith("unix-mode must be permission bits from 0o000 to 0o777; got ")


@pytest.mark.parametrize("name", BOOLS)
@pytest.mark.parametrize("value", [0, 1, "no", None, []])
def test_what_is_neither_true_nor_false(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(name.replace("_", "-") + " must be True or False; got ")


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("value", [5, True, ["a"], b"a", "a\0b"])
def test_what_is_no_path(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(name.replace("_", "-") + " must be a path")


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("value", ["x/y", Path("x/y"), Spelled()])
def test_what_stands_for_a_path(name: str, value: str | os.PathLike[str]) -> None:
    assert getattr(Settings(**{name: value}), name) == Path("x/y")


@pytest.mark.parametrize("value", [5, None, [5], ["unix:a", b"unix:b"], b"unix:a", [], "", "unix:a\0b"])
def test_what_is_nothing_to_listen_on(value: Any) -> None:
    refusal(listen=value)


def test_one_address_is_enough() -> None:
    assert Settings(listen="unix:a").listen == ("unix:a",)
    assert Settings(listen=["unix:a", "unix:b"]).listen == ("unix:a", "unix:b")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tcp://127.0.0.1:5", "tcp://127.0.0.1:5"),
        ("tcp://127.0.0.1:5", "tls://127.0.0.1:5"),
        ("tcp://localhost:5", "tcp://LocalHost:5/"),
        ("tcp://[::1]:5", "tcp://[::1]:5"),
        ("unix:a", "unix:a"),
        ("unix:a", "unix:./a"),
    ],
)
def test_an_address_that_is_given_twice(first: str, second: str) -> None:
    message = refusal(listen=(first, "unix:b", second), tls_cert="cert", tls_key="key", no_auth=True)
    assert message.startswith(f"can't listen on {second}")
    assert message.endswith("twice: leave one out")


def test_any_free_port_may_be_asked_for_twice() -> None:
    assert len(Settings(listen=("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")).listen) == 2


@pytest.mark.parametrize("name", ["engine", "fsync"])
@pytest.mark.parametrize("value", ["", "other", 5, None, ["lmdb"]])
def test_what_is_no_choice(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(f"{name} must be one of ")


async def test_the_largest_that_is_taken_works(run_service) -> None:
    large = 1 << 40
    async with run_service(look_ahead=large, window=large, batch=large, max_scans=1 << 20) as service, service.connect() as raw:
        for key in (b"a", b"b"):
            assert (await raw.call(Opcode.SET, key=key, value=b"v", extras=bytes(8))).status == 0
        await raw.send(encode_request(Opcode.STAT, key=b"keys"), encode_request(Opcode.NOOP))
        assert [(await raw.receive()).opcode for _ in range(4)] == [Opcode.STAT] * 3 + [Opcode.NOOP]


def test_the_limits_fit_the_wire() -> None:
    assert DEFAULTS["max_item_size"] == MAX_VALUE
    largest = Settings(max_item_size=MAX_FRAME - 1024).max_item_size
    assert largest + HEADER.size + 255 + 255 <= MAX_FRAME
    with pytest.raises(SettingsError, match=rf"max-item-size must be at most {largest}"):
        Settings(max_item_size=largest + 1)


@pytest.mark.parametrize("value", [7, b"1:2", (b"1:2",), [1], None])
def test_what_is_not_text_is_not_advertised(value: Any) -> None:
    assert refusal(advertise=value).startswith("advertise must be one text or several, each a str; got ")


LISTEN = ("tcp://127.0.0.1:1000", "tls://127.0.0.1:2000", "tcp://127.0.0.2:2000", "unix:a", "tcp://127.0.0.1:0", "tcp://[::1]:3000")
FILES = {"tls_cert": "cert", "tls_key": "key"}


@pytest.mark.parametrize(
    ("advertise", "ports"),
    [
        ((), (0, 0, 0, 0, 0, 0)),
        ("5:1000", (5, 0, 0, 0, 0, 0)),
        (["65535:1000", "7:3000"], (65535, 0, 0, 0, 0, 7)),
        (("5:tls://127.0.0.1:2000", "6:tcp://127.0.0.2:2000"), (0, 5, 6, 0, 0, 0)),
        ("5:tcp://127.0.0.1:0", (0, 0, 0, 0, 5, 0)),
        ("5:tcp://[::1]:3000", (0, 0, 0, 0, 0, 5)),
    ],
)
def test_each_listener_may_have_an_advertised_port(advertise: Any, ports: tuple[int, ...]) -> None:
    assert Settings(listen=LISTEN, advertise=advertise, **FILES).advertised == ports


@pytest.mark.parametrize(
    ("advertise", "message"),
    [
        ("", "can't advertise ''"),
        ("31210", "an example is 31210:11210"),
        ("example.org:31210:1000", "an advertised port is OUTSIDE:INSIDE"),
        ("5:", "OUTSIDE:INSIDE"),
        (":1000", "OUTSIDE:INSIDE"),
        ("5:1000 ", "OUTSIDE:INSIDE"),
        ("-5:1000", "OUTSIDE:INSIDE"),
        ("\u0665:1000", "OUTSIDE:INSIDE"),
        ("5:unix:a", "OUTSIDE:INSIDE"),
        ("x" * 1000, "OUTSIDE:INSIDE"),
        ("0:1000", "must be from 1 to 65535; got 0"),
        ("65536:1000", "must be from 1 to 65535; got 65536"),
        ("5:9", "no listener has 9; the listeners are tcp://127.0.0.1:1000, tls://127.0.0.1:2000"),
        ("5:tls://127.0.0.1:1000", "no listener has tls://127.0.0.1:1000"),
        (
            "5:2000",
            "it names tls://127.0.0.1:2000 and tcp://127.0.0.2:2000; give each a port of its own, or write the whole address",
        ),
        (("5:1000", "6:1000"), "twice: with port 5 and with 6; keep one"),
        (("5:1000", "5:tcp://127.0.0.1:1000"), "names tcp://127.0.0.1:1000 twice"),
    ],
)
def test_what_can_not_be_advertised(advertise: Any, message: str) -> None:
    assert message in refusal(listen=LISTEN, advertise=advertise, **FILES)


def test_port_0_twice_can_not_be_advertised() -> None:
    listen = ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    assert "give each a port of its own" in refusal(listen=listen, advertise="5:tcp://127.0.0.1:0")


@pytest.mark.parametrize("value", ["", "binary,", "text,text", "udp", "binary text", None, 1, ("text",)])
def test_what_are_no_protocols(value: object) -> None:
    assert refusal(protocols=value).startswith("protocols must be binary or text, or binary,text; got ")


@pytest.mark.parametrize("value", ["binary", "text", "binary,text", "text,binary"])
def test_protocols(value: str) -> None:
    assert Settings(protocols=value).protocols == value


def test_each_http_server_needs_memory() -> None:
    without = Settings(engine="memory").memory_bytes(1)
    one = Settings(engine="memory", management="tcp://127.0.0.1:8091").memory_bytes(1)
    two = Settings(engine="memory", management="tcp://127.0.0.1:8091", metrics="tcp://127.0.0.1:9464").memory_bytes(1)
    assert one - without == two - one > 64 * 256 * 1024
