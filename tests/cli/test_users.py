"""``trio-spool user``, as it is typed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.process import command as words
from support.users import ANN, BOB, user, write_users
from trio_spool.auth import Role, changing_users, load_users, save_users


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.json"


@pytest.fixture
def filled(path: Path) -> Path:
    bob = user("bob", buckets={"orders": [Role.WRITE, Role.READ], "[red]logs": [Role.STATS]})
    return write_users(path, bob, ANN)


def run(*arguments: object, **options: Any) -> str:
    return commands.run("user", *arguments, **options)


def one_line(*arguments: object, **options: Any) -> str:
    return commands.one_line("user", *arguments, **options)


def test_add(path: Path) -> None:
    output = run("add", "ann", "--users", path, "--password-stdin", input="pencil\nmore\n")
    assert output == "added ann; a running server applies this at SIGHUP\n"
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


@pytest.mark.parametrize("command", ["add", "passwd"])
def test_there_is_no_terminal(filled: Path, command: str) -> None:
    before = filled.read_bytes()
    name = "eve" if command == "add" else "bob"
    for closed in ("</dev/null", "<&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" -m trio_spool "$@" {closed}', sys.executable, "user", command, name, "--users", str(filled)],
            capture_output=True, text=True, timeout=60, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.splitlines()[1:] == ["Error: there is no terminal to ask for the password; use --password-stdin"], (
            done.stderr
        )
        assert "Warning" not in done.stderr
    assert filled.read_bytes() == before


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
        ("ann", b"\xff\n", "not valid UTF-8"),
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
    assert output == "changed the password of bob; a running server applies this at SIGHUP\n"
    users = load_users(filled)
    bob = users.check_password("bob", "eraser")
    assert (bob.roles, bob.buckets) == (before.get("bob").roles, before.get("bob").buckets)
    assert users.check_password("bob", "pencil") is None
    assert users.get("ann") == before.get("ann")
    assert users.secret == before.secret


def test_remove(filled: Path) -> None:
    assert run("remove", "bob", "--users", filled) == "removed bob; a running server applies this at SIGHUP\n"
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


def test_changes_that_come_together_are_all_kept(filled: Path) -> None:
    """Each process has its password when the others are ready, too: then all load, change and save."""
    script = "from trio_spool.cli import main; print('ready', flush=True); main()"
    commands = [["add", f"u{n}"] for n in range(6)] + [["passwd", "ann"], ["passwd", "bob"]]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, "user", *command, "--users", str(filled), "--password-stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for command in commands
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"eraser\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    users = load_users(filled)
    assert {found.name for found in users} == {"ann", "bob", *(f"u{n}" for n in range(6))}
    assert all(users.check_password(found.name, "eraser") for found in users)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="only Linux tells who waits for a lock")
@pytest.mark.parametrize("command", ["add", "passwd", "remove"])
def test_a_change_waits_for_another(filled: Path, command: str) -> None:
    """And begins with what that one has saved."""
    name = "eve" if command == "add" else "bob"
    options = [] if command == "remove" else ["--password-stdin"]
    with changing_users(filled):
        process = subprocess.Popen(
            words("user", command, name, "--users", filled, *options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        process.stdin.write(b"eraser\n")
        process.stdin.close()
        process.stdin = None
        while not waits_for_lock(process.pid, filled):
            assert process.poll() is None
        users = load_users(filled)
        save_users(filled, users.with_user(user("bob", Role.STATS)).without("ann"))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b""), output
    users = load_users(filled)
    assert {found.name for found in users} == {"add": {"bob", "eve"}, "passwd": {"bob"}, "remove": set()}[command]
    if command == "passwd":
        assert users.check_password("bob", "eraser").roles == {Role.STATS}


def waits_for_lock(process: int, path: Path) -> bool:
    """Return whether a process waits for the lock beside a file, as Linux tells."""
    number = os.stat(f"{path}.lock").st_ino
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "->" and line[5] == str(process) and line[6].endswith(f":{number}") for line in lines)


def test_a_lock_that_can_not_be_had(filled: Path, monkeypatch) -> None:
    def refuse(*_: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = filled.read_bytes()
    Path(f"{filled}.lock").mkdir()
    assert f"can't write the users to {filled}: is a directory" in one_line("remove", "ann", "--users", filled)
    assert filled.read_bytes() == before


def test_a_damaged_file_is_left_alone(path: Path) -> None:
    path.write_text("{")
    for command in (["list"], ["add", "ann"], ["passwd", "ann"], ["remove", "ann"]):
        assert "is not JSON" in one_line(*command, "--users", path)
    assert path.read_text() == "{"


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "none" / "users.json"
    assert "can't write the users" in one_line("add", "ann", "--users", path, "--password-stdin", input="pencil")


def test_roles_without_a_password(tmp_path: Path) -> None:
    users = write_users(tmp_path / "users.json", ANN, BOB)
    before = load_users(users)
    option = f"--users={users}"

    def roles(*arguments: str, status: int = 0) -> str:
        return run("roles", "bob", option, *arguments, status=status)

    assert roles("--set", "read").startswith("changed the roles of bob: read in every bucket; a running server")
    assert roles("--grant", "write,stats", "--grant", "orders:admin") == (
        "changed the roles of bob: read, write, stats in every bucket; admin in the bucket orders; "
        "a running server applies this at SIGHUP\n"
    )
    assert roles("--revoke", "read,stats", "--grant", "orders:read") .startswith(
        "changed the roles of bob: write in every bucket; read, admin in the bucket orders;"
    )  # fmt: skip
    assert roles() == "bob: write in every bucket; read, admin in the bucket orders\n"
    found = load_users(users).get("bob")
    assert found is not None
    assert (found.keys, load_users(users).get("ann")) == (before.get("bob").keys, before.get("ann"))
    assert (found.roles, found.buckets) == ({Role.WRITE}, {"orders": {Role.READ, Role.ADMIN}})
    roles("--revoke", "write", "--revoke", "orders:read,admin")
    assert roles() == "bob: no roles\n"


def test_roles_that_can_not_be_changed(tmp_path: Path) -> None:
    users = write_users(tmp_path / "users.json", ANN)
    option, before = f"--users={users}", users.read_bytes()
    assert "ann does not have read in the bucket shop; the roles are: ann: " in one_line(
        "roles", "ann", option, "--revoke", "shop:read"
    )
    assert "there is no user 'eve'" in one_line("roles", "eve", option, "--grant", "read")
    for wrong in ("king", "shop:king", ":read", "shop:", "", "read,,write"):
        assert "the roles are read, write" in run("roles", "ann", option, "--grant", wrong, status=2)
    assert "can't be combined" in run("roles", "ann", option, "--grant", "read", "--set", "read", status=2)
    assert "printable" in one_line("roles", "ann", option, "--grant", "a\nb:read")
    assert users.read_bytes() == before
