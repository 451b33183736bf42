"""Logins, TLS, buckets and collections, as they are typed, against a server in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from support.certificates import Authority
from support.commands import one_line, run
from support.process import Process, running
from support.users import ANN, BOB, EVE, write_users
from trio_spool.client import open_client
from trio_spool.mcbp import Feature, encode_leb128
from trio_spool.testing import running_server

HERE = "127.0.0.1"


@attrs.frozen
class Site:
    """A server with users, TLS, and the bucket ``orders``; and the files that belong to it."""

    plain: str
    tls: str
    process: Process
    files: Path

    def path(self, name: str) -> str:
        return str(self.files / name)

    def as_ann(self, *arguments: object, **kwargs) -> str:
        command, *rest = arguments
        words = command.split() if isinstance(command, str) else [command]
        return run(*words, self.plain, *rest, "-u", "ann", env={"TRIO_SPOOL_PASSWORD": "pencil"}, **kwargs)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    files = tmp_path_factory.mktemp("site")
    users = write_users(files / "users.json", ANN, BOB, EVE)
    authority = Authority(files)
    trustme.CA().cert_pem.write_to_path(str(files / "other.pem"))
    cert, key = authority.issue("ann", "ann@example.org", name="ann")
    (files / "both.pem").write_bytes(key.read_bytes() + cert.read_bytes())
    arguments = ["--listen", f"tcp://{HERE}:0", "--listen", f"tls://{HERE}:0", "--engine", "memory", f"--users={users}"]
    arguments += [f"--tls-cert={authority.cert}", f"--tls-key={authority.key}", f"--tls-client-ca={authority.ca_file}"]
    with running(*arguments, listeners=2) as process:
        made = Site(process.address, process.addresses[1].removeprefix("tls://"), process, files)
        made.as_ann("bucket create", "orders")
        yield made


PENCIL = {"env": {"TRIO_SPOOL_PASSWORD": "pencil"}}
WRONG = {"env": {"TRIO_SPOOL_PASSWORD": "pen"}}


def test_where_the_password_comes_from(site: Site) -> None:
    run("set", site.plain, "k", "v", "-u", "ann", **PENCIL)
    run("get", site.plain, "k", env={"TRIO_SPOOL_PASSWORD": "pencil", "TRIO_SPOOL_USERNAME": "ann"})
    assert "v" in run("get", site.plain, "k", "--username", "ann", "--password-stdin", input="pencil\nmore")
    assert "v" in run("get", site.plain, "k", "-u", "ann", "--password-stdin", input="pencil\r\n", **WRONG)
    assert "there is no password for 'ann'" in one_line("get", site.plain, "k", "-u", "ann")
    assert "not valid UTF-8" in one_line("get", site.plain, "k", "-u", "ann", "--password-stdin", input=b"\xff\n")
    assert "needs --username" in run("get", site.plain, "k", "--password-stdin", status=2)


@pytest.mark.parametrize("arguments", [("load", "-"), ("set", "key", "--file", "-")])
def test_standard_input_has_one_use(site: Site, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    output = run(command, site.plain, *rest, "-u", "ann", "--password-stdin", input="pencil\n", status=2)
    assert "--password-stdin can't be used when the data come from standard input" in output
    assert "Traceback" not in output
    run(command, site.plain, *rest, "-u", "ann", input='{"key": "k", "value": "v"}\n', **PENCIL)


@pytest.mark.skipif(
    not hasattr(os, "login_tty"), reason="there is no other way to give a process a terminal without a fork of ours"
)
def test_the_password_is_asked_for_at_a_terminal(site: Site) -> None:
    ours, theirs = pty.openpty()
    command = "import os; os.login_tty(0); from trio_spool.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "set", site.plain, "asked", "v", "-u", "ann"], stdin=theirs, stdout=theirs, stderr=theirs
    )  # fmt: skip
    os.close(theirs)
    output = b""

    def read_until(wanted: bytes) -> None:
        nonlocal output
        while wanted not in output:
            assert select.select([ours], [], [], 30)[0]
            output += os.read(ours, 1000)

    try:
        read_until(b"Password: ")
        os.write(ours, b"pencil\n")
        read_until(b"stored 1 bytes")
    finally:
        assert process.wait(100) == 0
        os.close(ours)
    assert b"pencil" not in output


def test_what_is_wrong_with_the_options_comes_before_the_password(site: Site) -> None:
    assert "give one of them" in run("scan", site.plain, "--prefix", "a", "--sample", "3", "-u", "ann", status=2)


def test_failures_are_one_line(site: Site) -> None:
    for name, env in (("ann", WRONG), ("nobody", PENCIL)):
        output = one_line("get", site.plain, "k", "-u", name, **env)
        assert f"the login of '{name}' was refused: the user name or the password is wrong" in output
    assert "use --username" in one_line("get", site.plain, "k")
    assert "use --username" in one_line("scan", site.plain)
    assert "the bucket 'none' does not exist, or this user may not use it" in one_line(
        "get", site.plain, "k", "-u", "ann", "-b", "none", **PENCIL
    )
    assert "the bucket 'default' does not exist" in one_line("get", site.plain, "k", "-u", "bob", "-b", "default", **PENCIL)
    assert "choose one with --bucket" in one_line("get", site.plain, "k", "-u", "bob", **PENCIL)
    assert "lacks the role write" in one_line("set", site.plain, "k", "v", "-u", "eve", **PENCIL)
    assert "lacks the role stats" in one_line("stat", site.plain, "-u", "eve", **PENCIL)
    assert "lacks the role admin" in one_line("bucket", "create", site.plain, "new", "-u", "eve", **PENCIL)
    assert "lacks the role admin" in one_line("bucket", "delete", site.plain, "orders", "-u", "eve", **PENCIL)
    assert "lacks the role admin" in one_line("collection", "create", site.plain, "a.b", "-u", "eve", **PENCIL)
    assert "lacks the role admin" in one_line("backup", site.plain, site.path("backup"), "-u", "eve", **PENCIL)
    assert "was refused" in one_line("backup", site.plain, site.path("backup"), "-u", "ann", **WRONG)
    assert "was refused" in one_line("dump", site.plain, site.path("dump"), "-u", "ann", **WRONG)
    assert not os.path.exists(site.path("dump"))


def test_a_server_without_users(server) -> None:
    assert "could not prove" in one_line("get", server.address, "k", "-u", "ann", **PENCIL)


def test_every_command_logs_in(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "documents"
    file.write_text('{"key": "loaded", "value": "v"}\n')
    session = ("-u", "bob", "--bucket", "orders")
    run("load", site.plain, file, *session, **PENCIL)
    assert run("get", site.plain, "loaded", *session, **PENCIL) == "v"
    assert "loaded" in run("scan", site.plain, *session, **PENCIL)
    run("dump", site.plain, tmp_path / "dump", *session, **PENCIL)
    assert json.loads((tmp_path / "dump").read_text().splitlines()[-1])["key"] == "loaded"
    run("delete", site.plain, "loaded", *session, **PENCIL)
    assert run("scan", site.plain, *session, **PENCIL) == ""
    assert "curr_items" in site.as_ann("stat", "--bucket", "orders")


def test_backup_of_a_bucket(site: Site, tmp_path: Path) -> None:
    with running_server(data_dir=tmp_path / "data", users=site.path("users.json")) as process:
        session = ("-u", "ann", "-b", "orders")
        run("bucket", "create", process.address, "orders", "-u", "ann", **PENCIL)
        run("set", process.address, "k", "v", *session, **PENCIL)
        run("set", process.address, "other", "v", "-u", "ann", **PENCIL)
        output = run(
            "backup", process.address, tmp_path / "backup", "-u", "ann", "-b", "orders", "--password-stdin", input="pencil\n"
        )
        assert "backed up" in output
    assert json.loads(run("verify", tmp_path / "backup", "--json"))["items"] == 1


# TLS


def test_tls(site: Site) -> None:
    encrypted = ("--tls", "--ca", site.path("ca.pem"))
    run("set", site.tls, "k", "v", *encrypted, "-u", "ann", **PENCIL)
    assert "v" in run("get", f"tls://{site.tls}", "k", *encrypted[1:], "-u", "ann", **PENCIL)  # as `serve` prints it
    assert "was refused" in one_line("get", site.tls, "k", *encrypted, "-u", "ann", **WRONG)
    assert "use --username" in one_line("get", site.tls, "k", *encrypted)
    for shown in (
        ("--client-cert", site.path("both.pem")),
        ("--client-cert", site.path("ann.pem"), "--client-key", site.path("ann.key")),
    ):
        assert "v" in run("get", site.tls, "k", *encrypted, *shown)
    rows = [json.loads(line) for line in run("scan", site.tls, *encrypted, "-u", "ann", **PENCIL).splitlines()]
    assert "k" in [row["key"] for row in rows]


def test_tls_that_fails(site: Site) -> None:
    trusting = ("--tls", "--ca", site.path("ca.pem"))
    output = one_line("get", site.tls, "k", "--tls", "--ca", site.path("other.pem"))
    assert f"the certificate of {site.tls} is not trusted" in output
    untrusted = one_line("get", site.tls, "k", "--tls")
    assert f"the certificate of {site.tls} is not trusted" in untrusted
    assert untrusted.endswith("; --ca FILE trusts the authority that has signed it\n")
    localhost = site.tls.replace(HERE, "localhost")
    assert f"{localhost} is not trusted: Hostname mismatch" in one_line("get", localhost, "k", *trusting)
    assert f"{site.plain} does not speak TLS; leave --tls or tls:// out" in one_line("get", site.plain, "k", *trusting)
    assert "want TLS" in one_line("get", site.tls, "k") or "broke" in one_line("get", site.tls, "k")
    assert "can't be used" in one_line("get", site.tls, "k", "--tls", "--ca", site.path("server.key"))
    assert "can't be used" in one_line("get", site.tls, "k", *trusting, "--client-cert", site.path("ann.pem"))
    wrong_key = ("--client-cert", site.path("ann.pem"), "--client-key", site.path("server.key"))
    assert "can't be used" in one_line("get", site.tls, "k", *trusting, *wrong_key)
    assert "does not exist" in run("get", site.tls, "k", "--tls", "--ca", site.path("none.pem"), status=2)
    assert "need --tls" in run("get", site.tls, "k", "--ca", site.path("ca.pem"), status=2)
    assert "needs --client-cert" in run("get", site.tls, "k", "--tls", "--client-key", site.path("ann.key"), status=2)


def test_a_peer_that_is_no_server() -> None:
    with socket.create_server((HERE, 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "does not speak TLS" in one_line("get", f"{HERE}:{listener.getsockname()[1]}", "k", "--tls")
        thread.join()


# Buckets


def test_buckets(site: Site) -> None:
    assert site.as_ann("bucket create", "new") == "created the bucket new\n"
    rows = [json.loads(line) for line in site.as_ann("bucket list", "--json").splitlines()]
    assert rows == [{"name": "default"}, {"name": "new"}, {"name": "orders"}]
    table = site.as_ann("bucket list")
    assert "new" in table and "orders" in table
    assert json.loads(run("bucket", "list", site.plain, "--json", "-u", "bob", **PENCIL)) == {"name": "orders"}
    site.as_ann("set", "k", "v", "-b", "new")
    assert "not found" in site.as_ann("get", "k", "-b", "orders", status=1).lower()
    assert "already" in site.as_ann("bucket create", "new", status=1)
    assert site.as_ann("bucket delete", "new") == "deleted the bucket new\n"
    assert "no bucket is named 'new'" in site.as_ann("bucket delete", "new", status=1)
    assert "can't be deleted" in site.as_ann("bucket delete", "default", status=1)
    assert "can't be the name" in site.as_ann("bucket create", "with blank", status=1)
    for impossible in ("", "x" * 251, "a\nb", os.fsdecode(b"\xff")):
        assert "not printable" in site.as_ann("bucket create", impossible, status=2)


# Collections


def listed(site: Site, *arguments: str) -> dict[str, dict]:
    rows = [json.loads(line) for line in site.as_ann("collection list", "--json", *arguments).splitlines()]
    return {f"{row['scope']}.{row['collection']}": row for row in rows}


def store(server: str, bucket: str, collection: int, *keys: bytes) -> None:
    async def work() -> None:
        host, port = server.split(":")
        async with open_client(host, int(port), username="ann", password="pencil", bucket=bucket) as client:
            await client.hello("test", (Feature.COLLECTIONS,))
            for key in keys:
                await client.set(encode_leb128(collection) + key, b"value")

    trio.run(work)


def test_collections(site: Site, tmp_path: Path) -> None:
    bucket = ("--bucket", "shops")
    site.as_ann("bucket create", "shops")
    output = site.as_ann("collection create", "shop.orders", "--max-ttl", "3600", *bucket)
    assert output.startswith("created the collection shop.orders, id 0x")
    site.as_ann("collection create", "shop.carts", *bucket)
    site.as_ann("set", "default", "v", *bucket)
    found = listed(site, *bucket)
    assert set(found) == {"_default._default", "shop.orders", "shop.carts"}
    orders = found["shop.orders"]
    store(site.plain, "shops", orders["id"], b"a", b"b")
    orders = listed(site, *bucket)["shop.orders"]
    assert (orders["items"], orders["max_ttl"]) == (2, 3600)
    assert orders["data_size"] >= 12
    assert listed(site) == {"_default._default": listed(site)["_default._default"]}  # of the default bucket
    table = site.as_ann("collection list", *bucket)
    assert "orders" in table and "3600" in table

    rows = [json.loads(line) for line in site.as_ann("scan", "--collection", "shop.orders", *bucket).splitlines()]
    assert [(row["key"], row["value"]) for row in rows] == [("a", "value"), ("b", "value")]
    assert all(row["expiry"] for row in rows)
    assert site.as_ann("scan", "--collection", "shop.orders", "--prefix", "b", "--format", "keys", *bucket) == "b\n"
    assert site.as_ann("scan", "--collection", "shop.carts", *bucket) == ""
    site.as_ann("dump", tmp_path / "dump", "--collection", "shop.orders", *bucket)
    declared, *documents = map(json.loads, (tmp_path / "dump").read_text().splitlines())
    assert declared == {"bucket": "shops", "collection": "shop.orders", "max_ttl": 3600}
    assert [(line["bucket"], line["collection"], line["key"]) for line in documents] == [
        ("shops", "shop.orders", "a"), ("shops", "shop.orders", "b"),
    ]  # fmt: skip
    lines = list(map(json.loads, site.as_ann("dump", *bucket).splitlines()))
    assert [line["key"] for line in lines if "key" in line] == ["default", "a", "b"]
    for path in ("shop.none", "none.orders"):
        assert f"no collection is named '{path}'" in site.as_ann("scan", "--collection", path, *bucket, status=1)
        assert f"no collection is named '{path}'" in site.as_ann("collection drop", path, *bucket, status=1)
    assert "not SCOPE.COLLECTION" in site.as_ann("scan", "--collection", "orders", *bucket, status=2)

    assert "already" in site.as_ann("collection create", "shop.orders", *bucket, status=1)
    assert "can't be the name" in site.as_ann("collection create", "shop.%x", *bucket, status=1)
    assert "can't be dropped" in site.as_ann("collection drop", "_default._default", *bucket, status=1)
    assert site.as_ann("collection drop", "shop.orders", *bucket) == "dropped the collection shop.orders\n"
    site.as_ann("collection create", "shop.orders", *bucket)
    again = listed(site, *bucket)["shop.orders"]
    assert again["id"] > orders["id"]
    assert again["items"] == 0
    site.as_ann("bucket delete", "shops")


def test_dropping_scopes(site: Site) -> None:
    site.as_ann("bucket create", "scopes")
    bucket = ("-b", "scopes")
    for path in ("a.x", "a.y", "b.x"):
        site.as_ann("collection create", path, *bucket)
    site.as_ann("collection drop", "a.x", "--scope", *bucket)  # there is another one
    assert "drop a.y first" in site.as_ann("collection drop", "a", "--scope", *bucket, status=1)
    site.as_ann("collection drop", "a.y", *bucket)
    assert "\na\t\t\t\t\t\n" in site.as_ann("collection list", *bucket)
    assert "not SCOPE.COLLECTION" in site.as_ann("collection drop", "a", *bucket, status=2)
    assert site.as_ann("collection drop", "a", "--scope", *bucket) == "dropped the scope a\n"
    assert "no scope is named 'a'" in site.as_ann("collection drop", "a", "--scope", *bucket, status=1)
    site.as_ann("collection drop", "b.x", "--scope", *bucket)
    assert set(listed(site, *bucket)) == {"_default._default"}
    table = site.as_ann("collection list", *bucket)
    assert "│ a " not in table and "│ b " not in table
    site.as_ann("bucket delete", "scopes")


def test_collections_for_those_who_may_not_see_statistics(site: Site) -> None:
    row = json.loads(run("collection", "list", site.plain, "--json", "-u", "eve", **PENCIL))
    assert (row["collection"], row["items"], row["data_size"]) == ("_default", None, None)
    assert "_default" in run("collection", "list", site.plain, "-u", "eve", **PENCIL)


def test_help() -> None:
    for group in ("bucket", "collection", "user"):
        assert group in run("--help")
    for words in (("get",), ("set",), ("delete",), ("stat",), ("load",), ("scan",), ("dump",), ("backup",), ("bucket", "list")):
        output = run(*words, "--help")
        for option in ("--username", "--password-stdin", "--bucket", "--tls", "--ca", "--client-cert", "--client-key"):
            assert option in output
