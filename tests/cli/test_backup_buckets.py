"""Backups of all buckets: backup, verify and restore, and serving what they make."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.commands import one_line, run, run_json
from support.users import PASSWORD, user, write_users
from trio_spool.auth import Role
from trio_spool.cli._restore import restore_in
from trio_spool.testing import Server, running_server

ENVIRONMENT = {"env": {"TRIO_SPOOL_PASSWORD": PASSWORD}}
ANN = ("-u", "ann")
BUCKETS = ("default", "orders", "shops", "a.b%-_")


@contextmanager
def served(directory: Path, **settings: Any) -> Iterator[Server]:
    """A server of a directory, with a file of users if there is one beside it."""
    users = directory.parent / "users"
    if users.exists():
        settings |= {"users": users, "username": "ann", "password": PASSWORD}
    with running_server(data_dir=directory, fsync="no", **settings) as server:
        yield server


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Server]:
    """A server with four buckets. Each has a document in the default collection, and one in another."""
    write_users(
        tmp_path / "users",
        user("ann", Role.ADMIN),
        user("bob", buckets={"default": [Role.ADMIN], "orders": [Role.ADMIN], "shops": [Role.READ]}),
        user("eve", Role.READ, buckets={"orders": [Role.ADMIN]}),
    )
    with served(tmp_path / "data", buckets=BUCKETS[1:]) as server:
        for bucket in BUCKETS:
            run("set", server.address, "k", bucket, "-b", bucket, *ANN, **ENVIRONMENT)
            run("collection", "create", server.address, "x.y", "-b", bucket, *ANN, **ENVIRONMENT)
            run("set", server.address, "k", f"{bucket} x.y", "-b", bucket, "--collection", "x.y", *ANN, **ENVIRONMENT)
        yield server


def content(directory: Path) -> dict[tuple[str, str], str]:
    """The values that a server of a directory has, by bucket and collection."""
    with served(directory) as server:
        lines = map(json.loads, run("dump", server.address, *ANN, **ENVIRONMENT).splitlines())
        return {(line["bucket"], line["collection"]): line["value"] for line in lines if "key" in line}


ALL = {(bucket, path): bucket + more for bucket in BUCKETS for path, more in (("_default._default", ""), ("x.y", " x.y"))}


def back_up(server: Server, directory: Path, *words: str, user: str = "ann") -> Any:
    return run_json("backup", server.address, directory, *words, "-u", user, **ENVIRONMENT)


def test_all_buckets(filled: Server, tmp_path: Path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    made = back_up(filled, backup)
    assert (made["buckets"], made["left_out"], made["resumed_at"]) == (sorted(BUCKETS), [], 0)
    verified = run_json("verify", backup)
    assert (verified["buckets"], verified["items"], verified["files"], verified["left_out"]) == (4, 8, 8, [])
    assert verified["bytes"] == made["bytes"]
    assert "4 buckets, 8 files" in run("verify", backup)
    assert "restored 8 items of 4 buckets" in run("restore", backup, restored)
    assert sorted(os.listdir(restored)) == ["buckets", "data.mdb", "trio-spool.json"]
    assert content(restored) == ALL
    identities = {
        json.loads(path.read_text())["uuid"] for path in [*restored.rglob("trio-spool.json"), *backup.rglob("trio-spool.json")]
    }
    assert len(identities) == 8
    assert content(Path(shutil.copytree(backup, tmp_path / "copy"))) == ALL  # it can be served as it is
    assert "complete backup already" in run("backup", filled.address, backup, *ANN, **ENVIRONMENT, status=1)


def test_text_for_people(filled: Server, tmp_path: Path) -> None:
    output = run("backup", filled.address, tmp_path / "all", *ANN, **ENVIRONMENT)
    assert output.startswith("backed up ") and f"of the buckets {', '.join(sorted(BUCKETS))} to " in output
    output = run("backup", filled.address, tmp_path / "one", "-b", "shops", *ANN, **ENVIRONMENT)
    assert f"of the bucket shops to {tmp_path / 'one'}" in output


def test_one_bucket(filled: Server, tmp_path: Path) -> None:
    made = back_up(filled, tmp_path / "one", "--bucket", "shops")
    assert made["buckets"] == ["shops"]
    assert sorted(os.listdir(tmp_path / "one")) == ["backup.json", "data.mdb", "trio-spool.json"]
    run("restore", tmp_path / "one", tmp_path / "restored")
    assert content(tmp_path / "restored") == {("default", "_default._default"): "shops", ("default", "x.y"): "shops x.y"}


def test_what_a_user_may_not_back_up_is_named_and_stays_named(filled: Server, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    output = run("backup", filled.address, backup, "-u", "bob", **ENVIRONMENT)
    first, second, last = output.splitlines()
    assert first.startswith("left out the bucket 'shops': ")
    assert second == "left out buckets that this user may not use, if there are any: the server does not name them"
    assert "of the buckets default, orders" in last
    for words in (["verify", backup], ["restore", backup, tmp_path / "restored"]):
        first, second, _ = run(*words).splitlines()
        assert first.startswith("the backup was made without the bucket 'shops': ")
        assert second.startswith("the backup was made without buckets that this user may not use")
    assert {bucket for bucket, _ in content(tmp_path / "restored")} == {"default", "orders"}


def test_without_the_default_bucket_there_is_no_data_directory(filled: Server, tmp_path: Path) -> None:
    message = one_line("backup", filled.address, tmp_path / "backup", "-u", "eve", **ENVIRONMENT)
    assert "the bucket default can't be backed up, and without it there is no data directory (the bucket 'a.b%-_': " in message
    assert message.endswith("name one bucket with --bucket\n")
    assert not (tmp_path / "backup").exists()
    back_up(filled, tmp_path / "backup", "-b", "orders", user="eve")


def test_an_interrupted_backup_goes_on(filled: Server, tmp_path: Path) -> None:
    """The default bucket comes last: without its manifest, the backup is not complete, whatever else is there."""
    backup = tmp_path / "backup"
    back_up(filled, backup)
    (backup / "backup.json").rename(backup / "backup.json.partial")
    shutil.rmtree(backup / "buckets" / "shops")
    for words in (["verify", backup], ["restore", backup, tmp_path / "restored"]):
        assert "is not complete" in run(*words, status=1)
    made = back_up(filled, backup)
    assert made["buckets"] == sorted(BUCKETS) and made["resumed_at"] > 0
    run("verify", backup)


def test_buckets_that_are_gone_when_it_goes_on(filled: Server, tmp_path: Path) -> None:
    """What was complete stays, as it was when its copy was made; what was not is removed."""
    backup = tmp_path / "backup"
    back_up(filled, backup)
    (backup / "backup.json").rename(backup / "backup.json.partial")
    part = backup / "buckets" / "shops"
    (part / "backup.json").rename(part / "backup.json.partial")
    for bucket in ("shops", "orders"):
        run("bucket", "delete", filled.address, bucket, *ANN, **ENVIRONMENT)
    assert back_up(filled, backup)["buckets"] == ["a.b%-_", "default"]
    assert run_json("verify", backup)["buckets"] == 3
    run("restore", backup, tmp_path / "restored")
    assert {bucket for bucket, _ in content(tmp_path / "restored")} == {"a.b%-_", "default", "orders"}


def test_copies_of_two_servers_are_not_mixed(filled: Server, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(filled, backup)
    (backup / "backup.json").rename(backup / "backup.json.partial")
    (tmp_path / "others").mkdir()
    with served(tmp_path / "others" / "data", buckets=("orders",)) as other:
        message = one_line("backup", other.address, backup)
    assert f"{backup / 'buckets' / 'orders'} has a copy of another bucket of this name; remove {backup}, or choose" in message
    back_up(filled, backup)


def test_a_list_is_there_before_the_first_copy_is_complete(filled: Server, tmp_path: Path) -> None:
    """So the copies that are complete when a backup ends by force are known to be of these buckets."""
    backup = tmp_path / "backup"
    back_up(filled, backup)
    (backup / "backup.json").rename(backup / "backup.json.partial")
    listed = json.loads((backup / "buckets.json").read_text())
    assert sorted(listed["buckets"]) == sorted(BUCKETS[1:]) and len(set(listed["buckets"].values())) == 3
    for name in ("a.b%-_", "shops"):
        shutil.rmtree(backup / "buckets" / name)
    back_up(filled, backup)
    assert json.loads((backup / "buckets.json").read_text()) == listed


def test_damage_of_any_bucket_is_found(filled: Server, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(filled, backup)
    path = backup / "buckets" / "shops" / "data.mdb"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    for words in (["verify", backup], ["restore", backup, tmp_path / "restored"]):
        assert f"{path} has the wrong SHA-512" in one_line(*words)
    assert os.listdir(tmp_path / "restored") == []
    path.write_bytes(whole)
    (path.parent / "backup.json").unlink()
    assert "is not a backup" in one_line("verify", backup)
    shutil.rmtree(path.parent)
    assert "lacks the bucket shops; make another backup" in one_line("verify", backup)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"buckets": 1, "left_out": []}', '{"buckets": ["b"], "left_out": []}', '{"buckets": {"../x": ""}, "left_out": []}',
     '{"buckets": {"..": ""}, "left_out": []}', '{"buckets": {"": ""}, "left_out": []}', '{"buckets": {"b": 7}, "left_out": []}',
     '{"buckets": {}, "left_out": [{}]}', '{"buckets": {}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_list(tmp_path: Path, text: str) -> None:
    with served(tmp_path / "data", buckets=("b",)) as server:
        run("backup", server.address, tmp_path / "backup")
    (tmp_path / "backup" / "buckets.json").write_text(text)
    assert "buckets.json is damaged" in one_line("verify", tmp_path / "backup")
    (tmp_path / "backup" / "buckets.json").unlink()
    assert "is no part of the backup: buckets.json does not name it" in one_line("verify", tmp_path / "backup")


def test_a_foreign_directory_is_refused_before_anything_is_copied(filled: Server, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert "is not empty" in one_line("backup", filled.address, tmp_path / "mine", *ANN, **ENVIRONMENT)
    assert os.listdir(tmp_path / "mine") == ["file"]


def test_a_restore_that_failed_leaves_no_buckets(filled: Server, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "backup")

    def replace(source: Path, target: Path) -> None:
        if target.name == "data.mdb":
            raise OSError("the disk is full")
        source.rename(target)

    with pytest.raises(OSError, match="the disk is full"):
        restore_in(tmp_path / "backup", tmp_path / "restored", True, replace)
    assert os.listdir(tmp_path / "restored") == []
    (tmp_path / "restored" / ".restoring").mkdir()  # as if it had been killed then
    (tmp_path / "restored" / "buckets" / "orders").mkdir(parents=True)
    run("restore", tmp_path / "backup", tmp_path / "restored")
    assert content(tmp_path / "restored") == ALL


def test_a_broken_bucket_is_named(tmp_path: Path) -> None:
    with served(tmp_path / "data", buckets=("b", "c")) as server:
        run("set", server.address, "k", "v")
    (tmp_path / "data" / "buckets" / "b" / "data.mdb").write_bytes(b"broken" * 1000)
    with served(tmp_path / "data") as server:
        for words in (["dump", server.address, "/dev/null"], ["backup", server.address, tmp_path / "backup"]):
            assert "left out the bucket 'b': broken: " in run(*words)
    assert "the backup was made without the bucket 'b': broken: " in run("verify", tmp_path / "backup")


@pytest.mark.parametrize("exists", [True, False])
def test_a_backup_that_failed_early_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "backup").mkdir()
    with running_server(buckets=("b",)) as server:  # in memory, where there are no files
        assert "prepare_snapshot" in one_line("backup", server.address, tmp_path / "backup")
    assert sorted(tmp_path.rglob("*")) == ([tmp_path / "backup"] if exists else [])
