"""``trio-spool user``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trio_spool.auth import Role, Users, load_users, make_user, save_users
from trio_spool.cli._users import user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.json"


@pytest.fixture
def filled(path: Path) -> Path:
    users = [
        make_user("bob", "pencil", [], {"orders": [Role.WRITE, Role.READ], "[red]logs": [Role.STATS]}, 4096),
        make_user("ann", "pencil", [Role.ADMIN], {}, 4096),
    ]
    save_users(path, Users(users))
    return path


def run(*arguments: object, status: int = 0, **kwargs) -> str:
    result = CliRunner().invoke(user, [str(argument) for argument in arguments], **kwargs)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.output


def one_line(*arguments: object, **kwargs) -> str:
    output = run(*arguments, status=1, **kwargs)
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1
    return output


def test_add(path: Path) -> None:
    output = run("add", "ann", "--users", path, "--password-stdin", input="pencil\nmore\n")
    assert output == "added ann; a running server takes it over at SIGHUP\n"
    ann = load_users(path).check_password("ann", "pencil")
    assert ann.roles == {Role.READ, Role.WRITE}
    assert not ann.buckets


@pytest.mark.parametrize("typed", ["pencil", "pencil\n", "pencil\r\n"])
def test_how_a_line_ends_is_not_the_password(path: Path, typed: str) -> None:
    run("add", "ann", "--users", path, "--password-stdin", input=typed)
    assert load_users(path).check_password("ann", "pencil")


def test_the_password_is_asked_for_twice_and_not_shown(path: Path) -> None:
    output = run("add", "ann", "--users", path, input="pencil\npensil\npencil\npencil\n")
    assert "do not match" in output
    assert "pencil" not in output
    assert load_users(path).check_password("ann", "pencil")


def test_the_password_is_no_argument(path: Path) -> None:
    assert "No such option" in run("add", "ann", "--users", path, "--password", "pencil", status=2)
    run("add", "ann", "pencil", "--users", path, status=2)
    assert not path.exists()


def test_roles(path: Path) -> None:
    options = [
        "--role",
        "stats",
        "--role",
        "read",
        "--bucket",
        "orders:write,admin",
        "--bucket",
        "a:b:read",
        "--bucket",
        "a:b:stats",
    ]
    run("add", "ann", "--users", path, "--password-stdin", *options, input="pencil")
    ann = load_users(path).get("ann")
    assert ann.roles == {Role.STATS, Role.READ}
    assert dict(ann.buckets) == {"orders": {Role.WRITE, Role.ADMIN}, "a:b": {Role.READ, Role.STATS}}


def test_with_a_bucket_alone_the_others_are_closed(path: Path) -> None:
    run("add", "ann", "--users", path, "--password-stdin", "--bucket", "orders:read", input="pencil")
    ann = load_users(path).get("ann")
    assert ann.may_use("orders")
    assert not ann.may_use("others")


@pytest.mark.parametrize("bucket", ["orders", "orders:", ":read", "orders:root", "orders:read,", "read"])
def test_wrong_buckets(path: Path, bucket: str) -> None:
    output = run("add", "ann", "--users", path, "--bucket", bucket, status=2)
    assert "the roles are read, write, admin, stats" in " ".join(output.split())


def test_wrong_use(path: Path) -> None:
    assert "--users" in run("add", "ann", status=2)
    assert "--role" in run("add", "ann", "--users", path, "--role", "root", status=2)


def test_the_file_from_the_environment(filled: Path) -> None:
    assert "ann" in run("list", env={"TRIO_SPOOL_USERS": str(filled)})


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("ann", b"", "the password can't be used: it is empty"),
        ("ann", b"\n", "the password can't be used: it is empty"),
        ("ann", b"a\tb\n", "the password can't be used: control characters"),
        ("ann", b"\xff\n", "not UTF-8"),
        ("ann", b"x" * 100_000, "4096 characters"),
        ("a\tb", b"pencil\n", "the user name can't be used: control characters"),
        ("", b"pencil\n", "the user name can't be used: it must have 1 to 128"),
    ],
)
def test_refused_names_and_passwords(path: Path, name: str, password: bytes, message: str) -> None:
    assert message in one_line("add", name, "--users", path, "--password-stdin", input=password)
    assert not path.exists()


def test_add_one_that_exists(filled: Path) -> None:
    before = filled.read_bytes()
    assert "already" in one_line("add", "an\u00adn", "--users", filled)
    assert filled.read_bytes() == before


def test_passwd(filled: Path) -> None:
    before = load_users(filled)
    output = run("passwd", "bob", "--users", filled, "--password-stdin", input="eraser\n")
    assert output == "changed the password of bob; a running server takes it over at SIGHUP\n"
    users = load_users(filled)
    bob = users.check_password("bob", "eraser")
    assert (bob.roles, bob.buckets) == (before.get("bob").roles, before.get("bob").buckets)
    assert users.check_password("bob", "pencil") is None
    assert users.get("ann") == before.get("ann")
    assert users.secret == before.secret


def test_remove(filled: Path) -> None:
    assert run("remove", "bob", "--users", filled) == "removed bob; a running server takes it over at SIGHUP\n"
    assert [found.name for found in load_users(filled)] == ["ann"]


@pytest.mark.parametrize("command", ["passwd", "remove"])
def test_an_unknown_user(filled: Path, path: Path, command: str) -> None:
    assert f"there is no user 'nobody' in {filled}" in one_line(command, "nobody", "--users", filled)
    filled.unlink()
    assert "trio-spool user add" in one_line(command, "nobody", "--users", path)


def test_list(filled: Path) -> None:
    output = run("list", "--users", filled)
    assert output.index("ann") < output.index("bob")
    assert "orders: read, write" in output
    assert "[red]logs: stats" in output
    assert [json.loads(line) for line in run("list", "--users", filled, "--json").splitlines()] == [
        {"name": "ann", "roles": ["admin"], "buckets": {}},
        {"name": "bob", "roles": [], "buckets": {"orders": ["read", "write"], "[red]logs": ["stats"]}},
    ]


def test_a_damaged_file_is_left_alone(path: Path) -> None:
    path.write_text("{")
    for command in (["list"], ["add", "ann"], ["passwd", "ann"], ["remove", "ann"]):
        assert "is not JSON" in one_line(*command, "--users", path)
    assert path.read_text() == "{"


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "none" / "users.json"
    assert "can't write the users" in one_line("add", "ann", "--users", path, "--password-stdin", input="pencil")
