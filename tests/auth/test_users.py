"""Users, what they may do, and the file that they are kept in."""

from __future__ import annotations

import base64
import json
import os
import resource
import stat
import time
from pathlib import Path

import pytest
from scramp import ScramClient

from trio_spool.auth import (
    ITERATIONS,
    MECHANISMS,
    Role,
    ScramError,
    ScramExchange,
    User,
    Users,
    UsersError,
    load_users,
    make_user,
    matches,
    save_users,
)

ANN = make_user("ann", "pencil", [Role.READ, Role.WRITE], {"orders": [Role.ADMIN]}, 4096)
BOB = make_user("b\u00f6b,=", "p\u00e4ss", [], {"logs": [Role.STATS], "orders": [Role.READ]}, 4096)
BOTH = Users([ANN, BOB])


def file_of(tmp_path: Path, users: Users = BOTH) -> Path:
    path = tmp_path / "users.json"
    save_users(path, users)
    return path


@pytest.mark.parametrize(
    ("roles", "buckets", "may", "may_not"),
    [
        ([Role.READ], {}, [(Role.READ, "a"), (Role.READ, None)], [(Role.WRITE, "a"), (Role.STATS, None), (Role.ADMIN, "a")]),
        ([Role.WRITE], {}, [(Role.WRITE, "a")], [(Role.READ, "a")]),
        ([Role.ADMIN], {}, [(role, bucket) for role in Role for bucket in ("a", None)], []),
        ([], {"a": [Role.ADMIN]}, [(role, "a") for role in Role], [(role, bucket) for role in Role for bucket in ("b", None)]),
        (
            [Role.READ],
            {"a": [Role.WRITE]},
            [(Role.READ, "a"), (Role.WRITE, "a"), (Role.READ, "b")],
            [(Role.WRITE, "b"), (Role.WRITE, None)],
        ),
    ],
)
def test_may(roles: list[Role], buckets: dict[str, list[Role]], may: list, may_not: list) -> None:
    user = User("u", frozenset(roles), {bucket: frozenset(held) for bucket, held in buckets.items()}, {})
    assert all(user.may(*right) for right in may)
    assert not any(user.may(*right) for right in may_not)


def test_may_use() -> None:
    assert ANN.may_use("anything")
    assert BOB.may_use("logs")
    assert not BOB.may_use("anything")
    assert not User("u", frozenset(), {"a": frozenset()}, {}).may_use("a")


def test_a_user_is_frozen_and_keeps_its_keys_to_itself() -> None:
    with pytest.raises(TypeError):
        ANN.buckets["more"] = frozenset(Role)
    with pytest.raises(AttributeError):
        ANN.roles = frozenset(Role)
    assert "keys" not in repr(ANN)


def test_make_user() -> None:
    user = make_user("\u2168", "pencil", [Role.READ], {})
    assert user.name == "IX"
    assert tuple(user.keys) == MECHANISMS
    assert {keys.iterations for keys in user.keys.values()} == {ITERATIONS}
    assert len({keys.salt for keys in user.keys.values()}) == len(MECHANISMS)
    assert user.keys != make_user("IX", "pencil", [Role.READ], {}).keys
    assert all(matches(mechanism, "pencil", user.keys[mechanism]) for mechanism in MECHANISMS)


@pytest.mark.parametrize(
    ("name", "password", "bucket", "iterations", "message"),
    [
        ("", "pencil", "b", 4096, "user name.*1 to 128"),
        ("\u00ad", "pencil", "b", 4096, "user name.*1 to 128"),
        ("x" * 129, "pencil", "b", 4096, "user name.*1 to 128"),
        ("\u00fc" * 1_000_000, "pencil", "b", 4096, "user name.*1 to 128"),
        ("\ufdfa" * 10, "pencil", "b", 4096, "user name.*1 to 128"),
        ("a\nb", "pencil", "b", 4096, "user name.*control"),
        ("a\u0085b", "pencil", "b", 4096, "user name.*control"),
        ("\U0001f600", "pencil", "b", 4096, "user name.*emoji"),
        ("ann", "", "b", 4096, "password.*empty"),
        ("ann", "\u00ad", "b", 4096, "password.*empty"),
        ("ann", "a\0b", "b", 4096, "password.*control"),
        ("ann", "x" * 4097, "b", 4096, "password.*4096 characters"),
        ("ann", "pencil", "", 4096, "bucket"),
        ("ann", "pencil", "a\nb", 4096, "bucket"),
        ("ann", "pencil", "b", 4095, "iterations"),
        ("ann", "pencil", "b", 10_000_001, "iterations"),
    ],
)
def test_make_user_refuses(name: str, password: str, bucket: str, iterations: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_user(name, password, [], {bucket: [Role.READ]}, iterations)
    assert make_user("x" * 128, "x" * 4096, [], {}, 4096)


def test_a_collection_never_changes() -> None:
    more = BOTH.with_user(make_user("carl", "pencil", [], {}, 4096))
    assert (len(BOTH), len(more), len(more.without("ann")), len(more.without("nobody"))) == (2, 3, 2, 3)
    assert [user.name for user in BOTH] == ["ann", BOB.name]
    assert more.get("ann") == ANN
    assert more.get("an\u00adn") == ANN
    assert more.get("nobody") is more.get("") is more.get("\0") is more.without("an\u00adn").get("ann") is None
    changed = more.with_user(make_user("ann", "other", [], {}, 4096))
    assert len(changed) == 3
    assert changed.check_password("ann", "other") is changed.get("ann")
    assert changed.check_password("ann", "pencil") is None
    assert changed.keys_for("nobody", "SCRAM-SHA1") == BOTH.keys_for("nobody", "SCRAM-SHA1")  # the secret is the same


def test_check_password() -> None:
    assert BOTH.check_password("ann", "pencil") is ANN
    assert BOTH.check_password("an\u00adn", "pencil") is ANN
    assert BOTH.check_password("bo\u0308b,=", "p\u00e4ss") is BOB
    assert BOTH.check_password("b\u00f6b,=", "pa\u0308ss") is BOB
    for name, password in [
        ("ann", "p\u00e4ss"),
        ("ann", ""),
        ("ann", "\0"),
        ("nobody", "pencil"),
        ("", "pencil"),
        ("\0", ""),
        ("\ud800", ""),
    ]:
        assert BOTH.check_password(name, password) is None
    assert Users().check_password("ann", "pencil") is None


def test_checking_an_unknown_user_derives_as_for_a_known_one() -> None:
    derived = []

    def note(*arguments: object) -> bool:
        derived.append(arguments)
        return False

    for name in ("ann", "nobody", "", "\0"):
        assert BOTH.check_password(name, "pencil", matches=note) is None
    assert {(mechanism, keys.iterations, len(keys.salt)) for mechanism, _, keys in derived} == {(MECHANISMS[0], 4096, 16)}
    assert len(derived) == 4


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_unknown_users_look_like_known_ones(tmp_path: Path, mechanism: str) -> None:
    path = file_of(tmp_path)

    def first(name: str) -> dict[str, str]:
        exchange = ScramExchange(mechanism, lambda user: load_users(path).keys_for(user, mechanism), nonce=lambda: "server")
        answer = exchange.first(f"n,,n={name},r=abc".encode()).decode()
        return dict(part.split("=", 1) for part in answer.split(","))

    known, unknown = first("ann"), first("nobody")
    assert unknown == first("nobody") == first("no\u00adbody")
    assert unknown["s"] != first("nobody2")["s"] != known["s"]
    assert {key: len(value) for key, value in known.items()} == {key: len(value) for key, value in unknown.items()}
    assert known["i"] == unknown["i"]


def test_fake_keys() -> None:
    fake = {mechanism: BOTH.keys_for("nobody", mechanism) for mechanism in MECHANISMS}
    assert len({keys.salt for keys in fake.values()}) == len(MECHANISMS)
    for mechanism, keys in fake.items():
        real = BOTH.keys_for("ann", mechanism)
        assert real == ANN.keys[mechanism]
        assert (len(keys.stored_key), len(keys.server_key)) == (len(real.stored_key), len(real.server_key))
        assert not matches(mechanism, "", keys)
        assert Users().keys_for("nobody", mechanism).iterations == ITERATIONS
        assert Users().keys_for("nobody", mechanism).salt != Users().keys_for("nobody", mechanism).salt  # other secrets
    with pytest.raises(ValueError, match="unknown mechanism"):
        BOTH.keys_for("nobody", "PLAIN")


def test_fake_keys_have_the_iterations_of_some_real_ones() -> None:
    users = Users([ANN, make_user("new", "pencil", [], {}, 5000)])
    counts = {users.keys_for(f"nobody{number}", "SCRAM-SHA1").iterations for number in range(64)}
    assert counts == {4096, 5000}


def test_an_unknown_user_can_not_log_in() -> None:
    server = ScramExchange("SCRAM-SHA256", lambda name: BOTH.keys_for(name, "SCRAM-SHA256"))
    client = ScramClient(["SCRAM-SHA-256"], "nobody", "pencil")
    client.set_server_first(server.first(client.get_client_first().encode()).decode())
    with pytest.raises(ScramError, match="the user name or the password is wrong"):
        server.final(client.get_client_final().encode())


def test_round_trip(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    found = load_users(path)
    assert list(found) == [ANN, BOB]
    assert found.secret == BOTH.secret
    assert found.keys_for("nobody", "SCRAM-SHA1") == BOTH.keys_for("nobody", "SCRAM-SHA1")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert content["users"]["ann"]["roles"] == ["read", "write"]
    assert content["users"]["ann"]["buckets"] == {"orders": ["admin"]}
    assert set(content["users"]["ann"]["scram"]["SCRAM-SHA512"]) == {"salt", "iterations", "stored_key", "server_key"}
    assert b"pencil" not in path.read_bytes()
    save_users(path, Users())
    assert len(load_users(path)) == 0


def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    save_users(path, BOTH)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_the_file_to_its_owner(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    os.chown(path, 12345, 12346)
    save_users(path, BOTH)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = file_of(tmp_path / "folder")
    link = tmp_path / "link"
    link.symlink_to(path)
    save_users(link, Users())
    assert link.is_symlink()
    assert len(load_users(path)) == 0


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # as if the disk were full
    try:
        with pytest.raises(UsersError, match=r"can't write the users to .*users\.json: file too large; check who owns it"):
            save_users(path, Users())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["users.json"]


def test_there_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsersError, match="can't write the users to"):
        save_users(tmp_path / "none" / "users.json", BOTH)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsersError, match=r"the file of users .*none\.json is missing; make it with: trio-spool user add"):
        load_users(tmp_path / "none.json")
    with pytest.raises(UsersError, match=r"can't read the users in .*: is a directory"):
        load_users(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xff", b"format: 1", b"[" * 100_000, b"1" * 5000])
def test_files_that_are_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "users.json"
    path.write_bytes(content)
    with pytest.raises(UsersError, match=r"users\.json is not JSON; restore it"):
        load_users(path)


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    content = path.read_bytes().rstrip()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(UsersError):
            load_users(path)


def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text('{"format": 2, "anything": {}}')
    with pytest.raises(UsersError, match=r"newer version \(format 2; this version reads 1\); upgrade"):
        load_users(path)


def b64(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("", [], "the file must be an object"),
        ("", {}, "the file must have the fields format, secret, users"),
        ("format", 0, "format must be 1"),
        ("format", True, "format must be 1"),
        ("format", "1", "format must be 1"),
        ("more", 1, "and no others"),
        ("secret", "???", "secret must be base64"),
        ("secret", "\u00fc", "secret must be base64"),
        ("secret", None, "secret must be base64"),
        ("secret", b64(31), "secret must have 32 bytes"),
        ("users", [], "users must be an object"),
        ("users/ann", None, "users.'ann' must be an object"),
        ("users/\u2168", {}, "not prepared"),
        ("users/a\nb", {}, "control"),
        ("users/", {}, "1 to 128"),
        ("users/ann/role", [], "users.'ann' must have the fields buckets, roles, scram"),
        ("users/ann/roles", "read", "users.'ann'.roles must be a list of read, write, admin, stats"),
        ("users/ann/roles", ["root"], "users.'ann'.roles must be a list"),
        ("users/ann/roles", [["read"]], "users.'ann'.roles must be a list"),
        ("users/ann/buckets", [], "users.'ann'.buckets must be an object"),
        ("users/ann/buckets/", ["read"], "bucket can't be named"),
        ("users/ann/buckets/b", {"read": 1}, "users.'ann'.buckets.'b' must be a list"),
        ("users/ann/scram", {}, "must have the fields SCRAM-SHA1, SCRAM-SHA256, SCRAM-SHA512"),
        ("users/ann/scram/SCRAM-SHA1", {}, "iterations, salt, server_key, stored_key"),
        ("users/ann/scram/SCRAM-SHA1/salt", "", "salt must have 1 to 64 bytes"),
        ("users/ann/scram/SCRAM-SHA1/salt", b64(65), "salt must have 1 to 64 bytes"),
        ("users/ann/scram/SCRAM-SHA1/iterations", 4095, "iterations must be 4096 to 10000000"),
        ("users/ann/scram/SCRAM-SHA1/iterations", 1e9, "iterations must be"),
        ("users/ann/scram/SCRAM-SHA1/iterations", True, "iterations must be"),
        ("users/ann/scram/SCRAM-SHA1/stored_key", b64(32), "stored_key must have 20 bytes"),
        ("users/ann/scram/SCRAM-SHA1/server_key", 5, "server_key must be base64"),
    ],
)
def test_files_of_the_wrong_shape(tmp_path: Path, where: str, value: object, message: str) -> None:
    path = file_of(tmp_path)
    content = {"top": json.loads(path.read_text(encoding="utf-8"))}
    *parents, last = ["top", *where.split("/")] if where else ["top"]
    target = content
    for name in parents:
        target = target[name]
    target[last] = value
    path.write_text(json.dumps(content["top"]))
    with pytest.raises(UsersError) as caught:
        load_users(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path} is not a file of users as trio-spool writes it: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_user_that_stands_twice(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("b\u00f6b,=", "ann"), encoding="utf-8")
    with pytest.raises(UsersError, match="twice"):
        load_users(path)


def test_preparing_the_longest_name_and_password_is_quick() -> None:
    begin = time.perf_counter()
    assert BOTH.check_password("\ufdfa" * 1_000_000, "\ufdfa" * 1_000_000) is None
    assert BOTH.check_password("\ufdfa" * 512, "\ufdfa" * 4096) is None
    assert time.perf_counter() - begin < 5
