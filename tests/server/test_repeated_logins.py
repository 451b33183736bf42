"""Logins one after another: each is answered once, and refusals come later and later."""

from __future__ import annotations

import pytest
import trio
from scramp import ScramClient

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Opcode, Response, Status

PASSWORD = "correct horse"


@pytest.fixture
async def service(run_service, tmp_path):
    users = write_users(tmp_path / "users.json", user("ann", Role.ADMIN, password=PASSWORD))
    async with run_service(users=users) as served:
        yield served


async def begin(raw) -> bytes:
    """Begin a login, and return the message that would complete it."""
    client = ScramClient(["SCRAM-SHA-256"], "ann", PASSWORD)
    first = await raw.call(Opcode.SASL_AUTH, key=b"SCRAM-SHA256", value=client.get_client_first().encode())
    assert first.status == Status.AUTH_CONTINUE
    client.set_server_first(first.value.decode())
    return client.get_client_final().encode()


async def step(raw, message: bytes, mechanism: bytes = b"SCRAM-SHA256") -> Response:
    return await raw.call(Opcode.SASL_STEP, key=mechanism, value=message)


@pytest.mark.parametrize(
    ("message", "mechanism"),
    [(b"nonsense", b"SCRAM-SHA256"), (b"", b"SCRAM-SHA256"), (b"c=biws,r=x,p=AA==", b"SCRAM-SHA256"), (None, b"SCRAM-SHA1")],
)
async def test_a_challenge_is_answered_once(service, message, mechanism) -> None:
    """After a wrong answer, the right one comes too late: a password can't be guessed with one challenge."""
    async with service.connect() as raw:
        right = await begin(raw)
        assert (await step(raw, right if message is None else message, mechanism)).status == Status.AUTH_ERROR
        assert (await step(raw, right)).status == Status.AUTH_ERROR
        assert (await raw.call(Opcode.NOOP)).status == Status.AUTH_ERROR


async def test_an_answer_is_good_once(service) -> None:
    async with service.connect() as raw:
        right = await begin(raw)
        assert (await step(raw, right)).status == 0
        assert (await step(raw, right)).status == Status.AUTH_ERROR
    async with service.connect() as raw:
        await begin(raw)
        assert (await step(raw, right)).status == Status.AUTH_ERROR  # that was another challenge's


async def seconds_of_failures(raw, count: int) -> float:
    began = trio.current_time()
    for _ in range(count):
        assert await raw.login("ann", "wrong") == Status.AUTH_ERROR
    return trio.current_time() - began


async def test_refusals_come_later_with_each_failure(service) -> None:
    async with service.connect() as raw:
        assert await seconds_of_failures(raw, 4) >= 0.1 + 0.2 + 0.4 + 0.8
        assert await raw.login("ann", PASSWORD) == 0
        # Now that it has succeeded, it begins again: another failure would have taken 1.6 seconds.
        assert await seconds_of_failures(raw, 1) < 1.5
