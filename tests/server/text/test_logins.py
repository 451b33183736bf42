"""Logging in: the first ``set`` carries the user and the password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.text import talk
from support.users import ANN, EVE, PASSWORD, write_users
from trio_spool.server.shared import Tuning

UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"
FAILURE = b"CLIENT_ERROR authentication failure\r\n"
FORMAT = b"CLIENT_ERROR bad authentication token format\r\n"
LACKS = b"CLIENT_ERROR the user 'eve' lacks the role %b here\r\n"


def login(user: str, password: str = PASSWORD) -> bytes:
    block = f"{user} {password}".encode()
    return b"set any 5 6 %d\r\n%b\r\n" % (len(block), block)


@pytest.fixture
async def service(run_service: Any, tmp_path: Path) -> AsyncIterator[Any]:
    tuning = Tuning(first_refusal=0.0, max_refusal=0.0)
    async with run_service(users=write_users(tmp_path / "users.json", ANN, EVE), tuning=tuning) as served:
        yield served


async def test_nothing_is_answered_before(service: Any) -> None:
    sent = b"get k\r\nversion\r\nmn\r\nstats\r\nwatch\r\nno\r\nset k 0 0 1\r\na\r\nadd k 0 0 1 noreply\r\nann pencil\r\nms k x\r\n"
    assert await talk(service, sent) == UNAUTHENTICATED * 6 + FORMAT + UNAUTHENTICATED * 2


@pytest.mark.parametrize("fields", ["_ _ _", "auth x 0", f"{'k' * 300} 0 -x"])
async def test_only_the_length_of_the_line_counts(service: Any, fields: str) -> None:
    sent = f"set {fields} 10\r\nann pencil\r\nset k x 0 10\r\nget k\r\n".encode()
    assert await talk(service, sent) == b"STORED\r\nCLIENT_ERROR bad command line format\r\nEND\r\n"
    sent = f"set {fields} x\r\nset {fields}\r\nset {fields} 10\r\nann pencil\r\n".encode()
    assert await talk(service, sent) == UNAUTHENTICATED * 2 + b"STORED\r\n"


async def test_after_that_everything_is_as_without_users(service: Any) -> None:
    sent = b"set k 0 0 1\r\na\r\nget k\r\nset k 0 0 10\r\nann pencil\r\nget k\r\n"
    expected = b"STORED\r\n" * 2 + b"VALUE k 0 1\r\na\r\nEND\r\nSTORED\r\nVALUE k 0 10\r\nann pencil\r\nEND\r\n"
    assert await talk(service, login("ann") + sent) == expected


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "nope"), ("nobody", PASSWORD), ("ann", PASSWORD + " "), ("ann", "\0x"), ("ann", "\udcff")]
)
async def test_wrong_passwords(service: Any, user: str, password: str) -> None:
    block = user.encode() + b" " + password.encode("utf-8", "surrogateescape")
    with capture_logs() as logs:
        answer = await talk(service, b"set a 0 0 %d\r\n%b\r\nget k\r\n" % (len(block), block) + login("ann") + b"get k\r\n")
    assert answer == FAILURE + UNAUTHENTICATED + b"STORED\r\nEND\r\n"
    assert [(line["event"], line["mechanism"]) for line in logs] == [("login refused", "text")]
    assert service.inside.counters.auth_errors == 1
    assert service.inside.counters.auth_cmds == 2


async def test_roles_hold(service: Any) -> None:
    sent = b"get k\r\nmg k v\r\nset k 0 0 1\r\na\r\nincr k 1\r\nms k 1\r\na\r\nmg k N30\r\nflush_all\r\nstats\r\nwatch\r\n"
    assert await talk(service, login("eve") + sent) == b"".join(
        [b"STORED\r\nEND\r\nEN\r\n"]
        + [
            LACKS % role
            for role in (b"write", b"read and write", b"write", b"read and write", b"admin", b"stats", b"read and stats")
        ]
    )


async def test_large_requests_need_a_login(service: Any) -> None:
    async with service.connect() as raw:
        await raw.send(b"set k 0 0 5000\r\n" + b"v" * 5000 + b"\r\nquit\r\n")
        assert await raw.rest() == UNAUTHENTICATED
    async with service.connect() as raw:
        await raw.send(b"get " + b"k" * 3000)
        assert await raw.rest() == UNAUTHENTICATED
