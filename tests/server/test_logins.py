"""Logging in, by the frame: who gets in, who does not, and what a refusal tells and costs."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import pytest
import structlog
import trio
from scramp import ScramClient
from trio.testing import wait_all_tasks_blocked

from support.users import user, write_users
from trio_spool.auth import MECHANISMS, Role
from trio_spool.mcbp import Feature, Opcode, Response, Status, encode_request
from trio_spool.server import Settings, SettingsError, serve
from trio_spool.server.shared import Logins, Tuning

PASSWORD = "correct horse"
EXTRAS = bytes(8)
# What needs no login.
FREE = frozenset({
    Opcode.HELLO, Opcode.VERSION, Opcode.QUIT, Opcode.QUITQ, Opcode.SASL_LIST_MECHS, Opcode.SASL_AUTH, Opcode.SASL_STEP,
    Opcode.GET_ERROR_MAP,
})  # fmt: skip
_SCRAMP_NAMES = {"SCRAM-SHA1": "SCRAM-SHA-1", "SCRAM-SHA256": "SCRAM-SHA-256", "SCRAM-SHA512": "SCRAM-SHA-512"}


ANN, BOB = user("ann", Role.ADMIN, password=PASSWORD), user("bob", Role.READ, password=PASSWORD)


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.json", ANN, BOB, secret=bytes(32))


@pytest.fixture
async def service(run_service, users_file):
    async with run_service(users=users_file, tuning=Tuning(first_refusal=0.0)) as served:
        yield served


async def plain(raw, value: bytes) -> Response:
    return await raw.call(Opcode.SASL_AUTH, key=b"PLAIN", value=value)


async def first_message(raw, mechanism: str, message: str) -> Response:
    return await raw.call(Opcode.SASL_AUTH, key=mechanism.encode(), value=message.encode())


async def scram(raw, mechanism: str, name: str, password: str, *, step: str = "", verify: bool = True) -> Response:
    client = ScramClient([_SCRAMP_NAMES[mechanism]], name, password)
    first = await first_message(raw, mechanism, client.get_client_first())
    assert (first.status, first.cas) == (Status.AUTH_CONTINUE, 0)
    client.set_server_first(first.value.decode())
    last = await raw.call(Opcode.SASL_STEP, key=(step or mechanism).encode(), value=client.get_client_final().encode())
    if not last.status and verify:
        client.set_server_final(last.value.decode())
    return last


async def logged_in(raw) -> bool:
    """Whether the connection may do anything; if it may not, it is closed."""
    return (await raw.call(Opcode.NOOP)).status == 0


# Before a login


@pytest.mark.parametrize("opcode", sorted(set(range(256)) - FREE))
async def test_a_command_before_the_login_is_refused_and_ends_the_connection(service, opcode: int) -> None:
    async with service.connect() as raw:
        await raw.send(raw.plain_frame(opcode, opaque=77), encode_request(Opcode.VERSION))
        reply = await raw.receive()
        assert (reply.opcode, reply.opaque, reply.status) == (opcode, 77, Status.AUTH_ERROR)
        assert (reply.value, reply.cas, reply.extras, reply.key, reply.datatype) == (b"Auth failure", 0, b"", b"", 0)
        assert await raw.closed()


async def test_what_is_free(service) -> None:
    async with service.connect() as raw:
        assert (await raw.call(Opcode.VERSION)).status == 0
        assert (await raw.call(Opcode.GET_ERROR_MAP, value=b"\0\1")).status == 0
        assert (await raw.call(Opcode.SASL_LIST_MECHS)).value.split() == [
            b"SCRAM-SHA512", b"SCRAM-SHA256", b"PLAIN", b"SCRAM-SHA1",
        ]  # fmt: skip
        await raw.hello(Feature.XERROR, Feature.JSON)
        reply = await raw.call(Opcode.GET, key=b"k")
        assert (reply.status, reply.datatype) == (Status.AUTH_ERROR, 1)
        assert b"log in first" in reply.value
        assert await raw.closed()
    async with service.connect() as raw:
        assert (await raw.call(Opcode.QUIT)).status == 0
        assert await raw.closed()


async def test_a_frame_info_before_the_login_does_no_harm(service) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as raw:
            # Durability, with a level that asks for the disk.
            assert (await raw.call(Opcode.VERSION, framing=b"\x11\3")).status == Status.INVALID
            assert (await raw.call(Opcode.VERSION)).status == 0
    assert logs == []


async def test_frames_before_the_login_are_small(service) -> None:
    most = 16 * 1024 - 24 - len(b"PLAIN")
    async with service.connect() as raw:
        assert (await plain(raw, bytes(most))).status == Status.AUTH_ERROR
        assert (await raw.call(Opcode.VERSION)).status == 0
        assert (await plain(raw, bytes(most + 1))).status == Status.INVALID
        assert await raw.closed()


async def test_a_client_that_does_not_log_in_is_closed(run_service, users_file) -> None:
    async with run_service(users=users_file, login_timeout=2) as service, service.connect() as known:
        assert await known.login("ann", PASSWORD) == 0
        async with service.connect() as stranger:
            await stranger.call(Opcode.VERSION)
            assert await stranger.closed()
        assert await logged_in(known)
        assert service.inside.counters.auth_errors == 1


async def test_commands_behind_a_login_need_not_wait_for_it(service) -> None:
    big = bytes(20_000)
    async with service.connect() as raw:
        await raw.send(
            encode_request(Opcode.HELLO, value=b"\0\7", opaque=1),
            encode_request(Opcode.SASL_LIST_MECHS, opaque=2),
            encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0ann\0" + PASSWORD.encode(), opaque=3),
            encode_request(Opcode.SELECT_BUCKET, key=b"default", opaque=4),
            encode_request(Opcode.SET, key=b"k", value=big, extras=EXTRAS, opaque=5),
            encode_request(Opcode.GET, key=b"k", opaque=6),
        )
        replies = [await raw.receive() for _ in range(6)]
    assert [(reply.opaque, reply.status) for reply in replies] == [(n, 0) for n in range(1, 7)]
    assert replies[5].value == big


# PLAIN


@pytest.mark.parametrize("value", [b"\0ann\0correct horse", b"ann\0ann\0correct horse"])
async def test_plain(service, value: bytes) -> None:
    async with service.connect() as raw:
        reply = await plain(raw, value)
        assert (reply.status, reply.cas) == (0, 0)
        assert await logged_in(raw)
        counters = service.inside.counters
        assert (counters.auth_cmds, counters.auth_errors) == (1, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"\0ann\0wrong", b"\0ann\0", b"\0nobody\0correct horse", b"\0\0correct horse", b"bob\0ann\0correct horse", b"",
        b"ann", b"ann\0correct horse", b"\0ann\0correct horse\0", b"\0ann\0\xff\xfe", b"\0\xff\0correct horse",
        b"\0" + b"a" * 5000 + b"\0x", b"\0ann\0" + b"p" * 5000,
    ],
)  # fmt: skip
async def test_plain_refused(service, value: bytes) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as raw:
            reply = await plain(raw, value)
            assert (reply.status, reply.value) == (Status.AUTH_ERROR, b"Auth failure")
            assert not await logged_in(raw)
            assert await raw.closed()
    (entry,) = logs
    assert (entry["event"], entry["mechanism"]) == ("login refused", "PLAIN")
    assert len(entry["user"]) <= 128
    assert "horse" not in str(entry) and "wrong" not in str({**entry, "reason": ""})
    counters = service.inside.counters
    assert (counters.auth_cmds, counters.auth_errors) == (1, 1)


# SCRAM


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_scram(service, mechanism: str) -> None:
    async with service.connect() as raw:
        assert (await scram(raw, mechanism, "ann", PASSWORD)).status == 0
        assert await logged_in(raw)
    async with service.connect() as raw:
        for name, password in [("ann", "wrong"), ("nobody", PASSWORD), ("bob", "")]:
            reply = await scram(raw, mechanism, name, password)
            assert (reply.status, reply.value) == (Status.AUTH_ERROR, b"Auth failure")
        assert not await logged_in(raw)


async def test_a_login_may_be_repeated_until_it_is_right(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("ann", "wrong") == Status.AUTH_ERROR
        assert (await scram(raw, "SCRAM-SHA256", "ann", "wrong")).status == Status.AUTH_ERROR
        assert (await scram(raw, "SCRAM-SHA256", "ann", PASSWORD)).status == 0
        assert (service.inside.counters.auth_cmds, service.inside.counters.auth_errors) == (3, 2)


async def test_a_step_without_a_start(service) -> None:
    async with service.connect() as raw:
        for _ in range(2):
            reply = await raw.call(Opcode.SASL_STEP, key=b"SCRAM-SHA512", value=b"c=biws,r=x,p=AA==")
            assert (reply.status, reply.value) == (Status.AUTH_ERROR, b"Auth failure")
        # A step is used up by a failure, too.
        assert (await scram(raw, "SCRAM-SHA1", "ann", "wrong")).status == Status.AUTH_ERROR
        assert (await raw.call(Opcode.SASL_STEP, key=b"SCRAM-SHA1", value=b"c=biws,r=x,p=AA==")).status == Status.AUTH_ERROR


async def test_a_step_of_another_mechanism(service) -> None:
    async with service.connect() as raw:
        assert (await scram(raw, "SCRAM-SHA1", "ann", PASSWORD, step="SCRAM-SHA256")).status == Status.AUTH_ERROR
        assert (await scram(raw, "SCRAM-SHA1", "ann", PASSWORD)).status == 0


@pytest.mark.parametrize(
    "message", ["p=tls-unique,,n=ann,r=abc", "n,a=bob,n=ann,r=abc", "", "n,,n=ann", "n,,n=,r=abc", "n,,m=x,n=ann,r=abc", "x" * 5000]
)
async def test_first_messages_that_are_refused(service, message: str) -> None:
    async with service.connect() as raw:
        reply = await first_message(raw, "SCRAM-SHA256", message)
        assert (reply.status, reply.value) == (Status.AUTH_ERROR, b"Auth failure")
        assert (await raw.call(Opcode.SASL_STEP, key=b"SCRAM-SHA256", value=b"")).status == Status.AUTH_ERROR


@pytest.mark.parametrize("name", [b"CRAM-MD5", b"plain", b"SCRAM-SHA-512", b"\xff"])
async def test_unknown_mechanisms(service, name: bytes) -> None:
    async with service.connect() as raw:
        reply = await raw.call(Opcode.SASL_AUTH, key=name, value=b"\0ann\0" + PASSWORD.encode())
        assert (reply.status, reply.value) == (Status.AUTH_ERROR, b"Auth failure")
        assert not await logged_in(raw)


async def test_whatever_is_refused_is_counted_and_logged_once_for_each_address(service) -> None:
    """Wrong passwords, unknown mechanisms, and steps that no login began or that another mechanism began."""
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as raw, service.connect() as other:
            assert await raw.login("ann", "wrong") == Status.AUTH_ERROR
            for connection in (raw, other):
                for name in (b"CRAM-MD5", b"\xff\n", b"x" * 200):
                    assert (await connection.call(Opcode.SASL_AUTH, key=name)).status == Status.AUTH_ERROR
                for name in (b"PLAIN", b"SCRAM-SHA1", b"nonsense"):
                    assert (await connection.call(Opcode.SASL_STEP, key=name, value=b"x")).status == Status.AUTH_ERROR
            assert (await scram(raw, "SCRAM-SHA1", "ann", PASSWORD, step="SCRAM-SHA256")).status == Status.AUTH_ERROR
            counters = service.inside.counters
            assert (counters.auth_cmds, counters.auth_errors) == (14, 14)
            peer = raw.stream.socket.getsockname()
    (entry,) = logs
    assert (entry["event"], entry["peer"], entry["user"]) == ("login refused", f"{peer[0]}:{peer[1]}", "ann")
    assert service.inside.incidents.counts()["login refused"] == 14


async def test_an_unknown_mechanism_is_refused_later_each_time(run_service, users_file, until) -> None:
    options = {"users": users_file, "drain_timeout": 0, "tuning": Tuning(first_refusal=1e6, max_refusal=1e6)}
    for opcode in (Opcode.SASL_AUTH, Opcode.SASL_STEP):
        async with run_service(**options) as service, service.connect() as raw:
            await raw.send(encode_request(opcode, key=b"nonsense"))
            await until(lambda service=service: service.inside.counters.auth_errors == 1)
            with trio.move_on_after(0.05) as waited:
                await raw.receive()
            assert waited.cancelled_caught


async def test_an_unknown_mechanism_is_answered_with_those_that_there_are(service) -> None:
    async with service.connect() as raw:
        await raw.hello(Feature.XERROR)
        assert b"SCRAM-SHA512 SCRAM-SHA256 PLAIN SCRAM-SHA1" in (await raw.call(Opcode.SASL_AUTH, key=b"CRAM-MD5")).value


def test_without_users_no_login_derives_keys() -> None:
    """Deriving takes a millisecond, and a login would take it in the event loop's thread."""
    logins = Logins(None, 0.1, 3.0)
    for mechanism in MECHANISMS:
        keys = logins.keys_for("somebody", mechanism)
        assert all(logins.keys_for(name, mechanism) is keys for name in ("", "anybody", "x" * 1000))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_first_message_does_not_tell_who_is_a_user(run_service, users_file, mechanism: str) -> None:
    async def salt_of(raw, name: str) -> bytes:
        reply = await first_message(raw, mechanism, f"n,,n={name},r=abc")
        nonce, salt, iterations = reply.value.decode().split(",")
        assert (reply.status, iterations) == (Status.AUTH_CONTINUE, "i=4096")
        assert nonce.startswith("r=abc")
        return base64.b64decode(salt.removeprefix("s="), validate=True)

    seen = []
    for _ in range(2):
        async with run_service(users=users_file) as service, service.connect() as raw, service.connect() as other:
            assert await salt_of(raw, "nobody") == await salt_of(other, "nobody")
            seen.append([await salt_of(raw, name) for name in ("ann", "bob", "nobody", "somebody")])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 4
    assert {len(salt) for salt in seen[0]} == {16}


# Logging in again


@pytest.mark.parametrize("value", [b"\0ann\0wrong", b"\0nobody\0x", b""])
async def test_a_failed_login_takes_away_what_one_before_gave(service, value: bytes) -> None:
    async with service.connect() as raw:
        assert await raw.login("ann", PASSWORD) == 0
        assert (await plain(raw, value)).status == Status.AUTH_ERROR
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.AUTH_ERROR
        assert await raw.closed()


@pytest.mark.parametrize("key", [b"nonsense", b"SCRAM-SHA1"])
async def test_a_login_that_has_only_begun_takes_it_away_too(service, key: bytes) -> None:
    async with service.connect() as raw:
        assert await raw.login("ann", PASSWORD) == 0
        assert (await raw.call(Opcode.SASL_AUTH, key=key, value=b"n,,n=ann,r=abc")).status
        assert not await logged_in(raw)


async def test_what_is_before_a_login_in_a_pipeline_is_done_with_the_rights_before_it(service) -> None:
    async with service.connect() as raw:
        assert await raw.login("ann", PASSWORD) == 0
        await raw.send(
            encode_request(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS),
            encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0bob\0" + PASSWORD.encode()),
            encode_request(Opcode.GET, key=b"k"),
            encode_request(Opcode.SET, key=b"k", value=b"w", extras=EXTRAS),
            encode_request(Opcode.SASL_AUTH, key=b"nonsense"),
            encode_request(Opcode.NOOP),
        )
        replies = [await raw.receive() for _ in range(6)]
        assert [reply.status for reply in replies] == [0, 0, 0, Status.NO_ACCESS, Status.AUTH_ERROR, Status.AUTH_ERROR]
        assert replies[2].value == b"v"
        assert await raw.closed()


# What a refusal costs


async def test_a_refusal_is_put_off_and_nobody_else_is(run_service, users_file, until) -> None:
    options = {"users": users_file, "drain_timeout": 0, "tuning": Tuning(first_refusal=1e6, max_refusal=1e6)}
    async with run_service(**options) as service, service.connect() as guesser, service.connect() as raw:
        await guesser.send(encode_request(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0ann\0wrong"))
        await until(lambda: service.inside.counters.auth_errors == 1)
        assert await raw.login("ann", PASSWORD) == 0
        assert await logged_in(raw)
        with trio.move_on_after(0.05) as waited:
            await guesser.receive()
        assert waited.cancelled_caught


def test_the_delay_doubles_up_to_a_limit(users_file) -> None:
    logins = Logins(users_file, 0.1, 3.0)
    assert [round(logins.delay(failures), 3) for failures in (1, 2, 3, 5, 6, 7, 1000)] == [0.1, 0.2, 0.4, 1.6, 3.0, 3.0, 3.0]


# The file of users


async def test_reloading_users(service, users_file) -> None:
    async with service.connect() as old, service.connect() as raw:
        assert await old.login("ann", PASSWORD) == 0
        write_users(users_file, user("carl", Role.READ, password="new"), secret=bytes(32))
        assert await raw.login("carl", "new") == Status.AUTH_ERROR
        with structlog.testing.capture_logs() as logs:
            service.service.reload_users()
        assert logs == [{"event": "users reloaded", "users": 1, "log_level": "warning"}]
        assert await raw.login("ann", PASSWORD) == Status.AUTH_ERROR
        assert await raw.login("carl", "new") == 0
        assert await logged_in(old)


@pytest.mark.parametrize("content", ["", "{}", None, "pipe"])
async def test_a_broken_file_changes_nothing(service, users_file, content: str | None) -> None:
    if content is None:
        users_file.unlink()
    elif content == "pipe":
        users_file.unlink()
        users_file.symlink_to(os.devnull)  # like a pipe that was read to its end
    else:
        users_file.write_text(content)
    with structlog.testing.capture_logs() as logs:
        service.service.reload_users()
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("the users stay as they were", "error")
    assert str(users_file) in entry["reason"]
    assert (content == "pipe") == entry["reason"].endswith("is not a regular file, so it can't be read again")
    async with service.connect() as raw:
        assert await raw.login("ann", PASSWORD) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
async def test_a_signal_reloads(service, users_file, until) -> None:
    await wait_all_tasks_blocked()
    write_users(users_file, user("carl", Role.READ), secret=bytes(32))
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(service.inside.logins) == 1)


async def test_a_file_that_is_not_there_is_a_wrong_setting(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json"):
        await serve(Settings(listen=("tcp://127.0.0.1:0",), engine="memory", users=tmp_path / "none.json"))


# Without users


async def test_without_users_nobody_needs_to_log_in_and_anybody_may(run_service) -> None:
    async with run_service() as service, service.connect() as raw:
        assert await logged_in(raw)
        assert await raw.login("anybody", "anything") == 0
        assert (await plain(raw, b"\0\0")).status == 0
        for mechanism in MECHANISMS:
            assert (await scram(raw, mechanism, "anybody", "anything", verify=False)).status == 0
            assert (await raw.call(Opcode.CREATE_BUCKET, key=mechanism.encode())).status == 0
        assert (await plain(raw, b"nonsense")).status == Status.AUTH_ERROR
        assert await logged_in(raw)
