"""Collections and buckets, as get, set, delete, scan, dump and load know them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from support.commands import one_line, run, run_json
from support.users import PASSWORD, user, write_users
from trio_spool.auth import Role
from trio_spool.cli._destinations import Destinations
from trio_spool.cli._documents import Item, declaration_to_json, from_json, to_json
from trio_spool.cli._errors import ConnectionFailedError, DocumentError
from trio_spool.cli._places import Declaration, Place
from trio_spool.client import Client, ConnectionLostError, Document, ServerError, open_client, unpack_xattrs
from trio_spool.mcbp import DataType, Feature, Opcode, PathFlag, encode_leb128, pack_xattrs
from trio_spool.testing import Server, running_server

ENVIRONMENT = {"env": {"TRIO_SPOOL_PASSWORD": PASSWORD}}
LOSSLESS = (
    "key",
    "key_base64",
    "value",
    "value_base64",
    "flags",
    "expiry",
    "datatype",
    "xattrs",
    "bucket",
    "collection",
    "max_ttl",
)


def lines_of(text: str) -> list[dict[str, Any]]:
    """The lines of a dump, without what differs between two servers."""
    return [{name: value for name, value in json.loads(line).items() if name in LOSSLESS} for line in text.splitlines()]


def documents_in(text: str) -> set[tuple[str, str, str]]:
    return {(line["bucket"], line["collection"], line["key"]) for line in lines_of(text) if "key" in line}


@contextmanager
def filled(**settings: Any) -> Iterator[Server]:
    """A server whose default bucket and bucket ``shops`` have a document ``k`` in each collection; two collections are empty."""
    with running_server(buckets=("shops", "empty"), **settings) as server:
        session = ("-u", "ann") if "users" in settings else ()
        for bucket in ("default", "shops"):
            for path in ("shop.orders", "shop.carts", "other.orders"):
                run("collection", "create", server.address, path, "-b", bucket, *session, "--max-ttl", "3600", **ENVIRONMENT)
            for path in ("_default._default", "shop.orders", "other.orders"):
                words = ("k", f"{bucket} {path}", "--collection", path, "-b", bucket, *session)
                run("set", server.address, *words, **ENVIRONMENT)
        yield server


EVERYTHING = {
    (bucket, path, "k") for bucket in ("default", "shops") for path in ("_default._default", "shop.orders", "other.orders")
}  # fmt: skip


# One document


def test_get_set_and_delete_in_a_collection(server: Server) -> None:
    run("collection", "create", server.address, "shop.orders")
    there = ("--collection", "shop.orders")
    assert run_json("set", server.address, "k", "in it", *there, "--flags", "7")["collection"] == "shop.orders"
    run("set", server.address, "k", "outside")
    described = run_json("get", server.address, "k", *there)
    assert (described["collection"], described["key"], described["value"], described["flags"]) == ("shop.orders", "k", "in it", 7)
    assert run("get", server.address, "k", "--raw", *there) == "in it"
    assert run("get", server.address, "k", "--raw", "--collection", "_default._default") == "outside"
    assert run_json("delete", server.address, "k", *there) == {"collection": "shop.orders", "key": "k", "deleted": True}
    for command in ("get", "delete"):
        expected = "not found: there is no item with the key 'k' in the collection shop.orders"
        assert expected in one_line(command, server.address, "k", *there)
    assert run("get", server.address, "k", "--raw") == "outside"


def test_the_longest_key(server: Server) -> None:
    run("collection", "create", server.address, "shop.orders")
    run("set", server.address, "k" * 250, "v", "--collection", "shop.orders")
    assert run("get", server.address, "k" * 250, "--raw", "--collection", "shop.orders") == "v"


@pytest.mark.parametrize("words", [("get", "k"), ("set", "k", "v"), ("delete", "k"), ("load", "-"), ("dump",), ("scan",)])
def test_a_collection_that_does_not_exist(server: Server, words: tuple[str, ...]) -> None:
    command, *rest = words
    options = {"input": '{"key": "k", "value": "v"}\n'} if command == "load" else {}
    message = one_line(command, server.address, *rest, "--collection", "shop.none", **options)
    assert "no collection is named 'shop.none'" in message
    assert "not SCOPE.COLLECTION" in run(command, server.address, *rest, "--collection", "none", status=2)


# dump and load


def test_everything_is_dumped_and_loaded(tmp_path: Path) -> None:
    file, again = tmp_path / "file", tmp_path / "again"
    with filled() as server:
        assert run("dump", server.address, file) == "dumped 6 documents from 9 collections of 3 buckets\n"
    lines = lines_of(file.read_text())
    assert documents_in(file.read_text()) == EVERYTHING
    assert {"bucket": "shops", "collection": "shop.carts", "max_ttl": 3600} in lines
    assert {"bucket": "empty", "collection": "_default._default", "max_ttl": 0} in lines
    with running_server() as other:
        output = run("load", other.address, file)
        assert output.splitlines()[-1] == "stored 6 documents"
        assert "created the bucket 'shops'\n" in output
        assert "created the collection 'shop.orders' of the bucket 'default'\n" in output
        run("dump", other.address, again)
        assert lines_of(again.read_text()) == lines
        assert run_json("load", other.address, file) == {"stored": 6}  # again, where everything exists
        assert run("get", other.address, "k", "--raw", "-b", "shops", "--collection", "shop.orders") == "shops shop.orders"


def test_one_bucket_or_one_collection(tmp_path: Path) -> None:
    with filled() as server:
        assert documents_in(run("dump", server.address, "-b", "shops")) == {one for one in EVERYTHING if one[0] == "shops"}
        alone = run("dump", server.address, "-b", "shops", "--collection", "shop.orders")
        assert documents_in(alone) == {("shops", "shop.orders", "k")}
        assert documents_in(run("dump", server.address, "--collection", "shop.orders")) == {("default", "shop.orders", "k")}
        assert documents_in(run("dump", server.address, "--prefix", "x")) == set()
        scanned = run("scan", server.address, "-b", "shops", "--collection", "shop.orders")
        with running_server() as other:
            for text in (alone, scanned):
                run("load", other.address, "-", input=text)
                loaded = run("get", other.address, "k", "--raw", "-b", "shops", "--collection", "shop.orders")
                assert loaded == "shops shop.orders"
                run("bucket", "delete", other.address, "shops")
            assert run("scan", other.address) == ""


def test_options_say_where_documents_go(tmp_path: Path) -> None:
    with filled() as server:
        one = run("dump", server.address, "-b", "shops", "--collection", "shop.orders")
        several = run("dump", server.address, "-b", "shops")
    with running_server(buckets=("b",)) as other:
        run("collection", "create", other.address, "x.y", "-b", "b")
        run("load", other.address, "-", "-b", "b", "--collection", "x.y", input=one)
        assert documents_in(run("dump", other.address)) == {("b", "x.y", "k")}
        run("load", other.address, "-", "-b", "b", input=several)
        assert {place[1] for place in documents_in(run("dump", other.address, "-b", "b"))} == {
            "x.y", "_default._default", "shop.orders", "other.orders",
        }  # fmt: skip
        assert "default" not in {place[0] for place in documents_in(run("dump", other.address))}


@pytest.mark.parametrize("option", ["--collection=_default._default", "--bucket=default"])
def test_documents_of_several_places_are_not_mixed(server: Server, option: str) -> None:
    lines = [{"key": "k", "value": bucket, "bucket": bucket, "collection": f"s.{bucket}"} for bucket in ("a", "b")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    output = run("load", server.address, "-", option, input=text, status=1)
    name = option.partition("=")[0]
    assert f"Error: {name} would mix documents of s.a of the bucket a with those of s.b of the bucket b, which may" in output


def test_files_of_earlier_versions(server: Server) -> None:
    text = '{"key": "k", "value": "v", "flags": 1, "expiry": 0, "cas": 5, "seqno": 1}\n'
    run("load", server.address, "-", input=text)
    assert run("get", server.address, "k", "--raw") == "v"
    run("bucket", "create", server.address, "b")
    run("collection", "create", server.address, "x.y", "-b", "b")
    run("load", server.address, "-", "-b", "b", "--collection", "x.y", input=text * 3)
    assert documents_in(run("dump", server.address)) == {("default", "_default._default", "k"), ("b", "x.y", "k")}


def test_buckets_may_change_from_line_to_line(server: Server) -> None:
    lines = [{"key": f"k{n}", "value": f"{n}"} | ({"bucket": f"b{n % 3}"} if n % 3 else {}) for n in range(2000)]
    run("load", server.address, "-", input="".join(json.dumps(line) + "\n" for line in lines))
    found = documents_in(run("dump", server.address))
    assert found == {(line.get("bucket", "default"), "_default._default", line["key"]) for line in lines}


def test_a_maximum_ttl_that_differs_is_named(server: Server) -> None:
    run("collection", "create", server.address, "x.y", "--max-ttl", "60")
    text = '{"bucket": "default", "collection": "x.y", "max_ttl": 0}\n'
    assert "its maximum TTL stays 60, and is not 0, as the file says" in run("load", server.address, "-", input=text)


def test_a_scope_without_collections_is_named(server: Server) -> None:
    run("collection", "create", server.address, "x.y")
    run("collection", "drop", server.address, "x.y")
    assert "left out the scope 'x' of the bucket 'default': it has no collections\n" in run("dump", server.address)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bucket": ""}, "'bucket' must be a name"),
        ({"bucket": 7}, "'bucket' must be a name; got 7"),
        ({"bucket": None}, "'bucket' must be a name"),
        ({"bucket": "\x1b"}, "'bucket' must be a name"),
        ({"bucket": "b" * 251}, "'bucket' must be a name"),
        ({"bucket": "\ud800"}, "'bucket' must be a name"),
        ({"collection": "orders"}, "'collection' must be SCOPE.COLLECTION; got 'orders'"),
        ({"collection": "a.b.c"}, "'collection' must be SCOPE.COLLECTION"),
        ({"collection": [1]}, "'collection' must be a name"),
        ({"xattrs": []}, "'xattrs' must be an object"),
        ({"xattrs": {"a": 1}}, "'xattrs' must be an object"),
        ({"xattrs": {"": "1"}}, "'xattrs' must be an object"),
        ({"xattrs": {"a": "\ud800"}}, "'xattrs' contains a surrogate"),
    ],
)
def test_lines_with_wrong_places(server: Server, fields: dict[str, Any], message: str) -> None:
    output = one_line("load", server.address, "-", input=json.dumps({"key": "k", "value": "v", **fields}) + "\n")
    assert "standard input, line 1: " in output and message in output


@pytest.mark.parametrize("max_ttl", [-1, 2**31, 1.5, True, "1", None])
def test_declarations_that_can_not_be(max_ttl: object) -> None:
    with pytest.raises(DocumentError, match="'max_ttl' must be a number"):
        from_json(json.dumps({"bucket": "b", "collection": "a.b", "max_ttl": max_ttl}))


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zs", "Zl", "Zp", "Co", "Cn"], exclude_characters="."),
    min_size=1,
    max_size=20,
)


@given(names, names, names, st.integers(0, 2**31 - 1))
def test_any_place_survives_as_a_line(bucket: str, scope: str, name: str, max_ttl: int) -> None:
    place = Place(bucket, f"{scope}.{name}")
    assert from_json(declaration_to_json(Declaration(place, max_ttl))) == Declaration(place, max_ttl)
    document = Document(b"k", b"v", 1, 2, 1, 3, 4)
    line = to_json(document, keys_only=False, place=place, xattrs=[(b"a", b'"\\ud800"'), (b"b.c", b"12345678901234567.1")])
    expected = (("a", '"\\ud800"'), ("b.c", "12345678901234567.1"))
    assert from_json(line) == Item(b"k", b"v", 1, 2, 1, place, expected)


# Who may not


def test_what_a_user_may_not_read_is_named(tmp_path: Path) -> None:
    users = write_users(
        tmp_path / "users",
        user("ann", Role.ADMIN),
        user("bob", buckets={"default": [Role.READ], "shops": [Role.WRITE]}),
        user("eve", buckets={"shops": [Role.STATS]}),
        user("joe", Role.READ, Role.STATS),
    )
    with filled(users=users, username="ann", password=PASSWORD) as server:
        output = run("dump", server.address, tmp_path / "file", "-u", "bob", **ENVIRONMENT)
        lines = output.splitlines()
        assert lines[0].startswith("left out the bucket 'shops': range_scan_create: ")
        assert lines[1] == "left out buckets that this user may not use, if there are any: the server does not name them"
        assert lines[2] == "dumped 3 documents from 4 collections of 1 bucket"
        assert {place[0] for place in documents_in((tmp_path / "file").read_text())} == {"default"}
        assert "may not read any bucket" in run("dump", server.address, "-u", "eve", **ENVIRONMENT, status=1)
        assert "range_scan_create" in run("dump", server.address, "-u", "bob", "-b", "shops", **ENVIRONMENT, status=1)
        assert "may not use it" in run("dump", server.address, "-u", "bob", "-b", "empty", **ENVIRONMENT, status=1)
        assert "left out" not in run("dump", server.address, "-u", "joe", **ENVIRONMENT)
        assert documents_in(run("dump", server.address, "-u", "ann", **ENVIRONMENT)) == EVERYTHING


def test_what_a_user_may_not_make_is_named(tmp_path: Path) -> None:
    users = write_users(tmp_path / "users", user("ann", Role.ADMIN), user("bob", Role.READ, Role.WRITE))
    with running_server(users=users, username="ann", password=PASSWORD) as server:
        for line, message in [
            ({"bucket": "new"}, "the bucket 'new' does not exist, or this user may not use it, and may not make it; create it"),
            ({"collection": "x.y"}, "the collection 'x.y' of the bucket 'default' does not exist, and this user may not make it"),
        ]:
            text = json.dumps({"key": "k", "value": "v", **line}) + "\n"
            assert message in one_line("load", server.address, "-", "-u", "bob", **ENVIRONMENT, input=text)


class Memcached:
    """A client of a server without HELLO, buckets and collections."""

    features: frozenset[int] = frozenset()

    async def hello(self, agent: str, features: tuple[int, ...]) -> list[int]:
        raise ServerError("hello: unknown command (status 0x81)", 0x81)


async def test_a_server_without_collections() -> None:
    destinations = Destinations(Memcached(), None, None, print)
    assert await destinations.key_of(Item(b"k", b"v")) == b"k"
    assert await destinations.key_of(Item(b"k", b"v", place=Place("default", "_default._default"))) == b"k"
    with pytest.raises(ConnectionFailedError, match=r"this server has no collections, and b'k' is of 'x\.y'"):
        await destinations.key_of(Item(b"k", b"v", place=Place("default", "x.y")))


# Extended attributes

XATTRS = {"_sync": '{"rev":  1}', "odd name": "12345678901234567.1", "text": '"\\ud800"'}


async def store_with_xattrs(client: Client, key: bytes) -> None:
    await client.hello("test", (Feature.XATTR, Feature.COLLECTIONS))
    prefixed = encode_leb128(await client.collection_id("x.y")) + key
    await client.set(prefixed, b"not JSON", flags=9, expiry=100_000)
    for name, text in XATTRS.items():
        path = name.encode()
        extras = struct.pack(">HB", len(path), PathFlag.XATTR | PathFlag.CREATE)
        await (
            await client.start(Opcode.SUBDOC_DICT_UPSERT, key=prefixed, extras=extras, value=path + text.encode())
        ).expect_success()


def test_attributes_are_kept(tmp_path: Path) -> None:
    async def fill(server: Server) -> None:
        async with open_client(server.host, server.port) as client:
            await store_with_xattrs(client, b"k")

    with running_server() as server:
        run("collection", "create", server.address, "x.y")
        trio.run(fill, server)
        run("set", server.address, "plain", "v")
        dumped = run("dump", server.address)
    (line,) = [line for line in lines_of(dumped) if "xattrs" in line]
    assert (line["key"], line["value"], line["flags"]) == ("k", "not JSON", 9)
    assert line["xattrs"] == XATTRS
    with running_server() as other:
        assert run("load", other.address, "-", input=dumped).endswith("stored 2 documents\n")
        assert lines_of(run("dump", other.address)) == lines_of(dumped)


def test_an_attribute_that_can_not_be_stored_is_named(server: Server) -> None:
    text = json.dumps({"key": "k", "value": "v", "xattrs": {"a": "not JSON"}}) + "\n"
    assert "stored 1 documents, but not all attributes of 'k': subdoc_dict_upsert" in one_line(
        "load", server.address, "-", input=text
    )


@given(st.binary(max_size=40))
def test_any_value_is_split_or_refused(value: bytes) -> None:
    document = Document(b"k", value, 1, 2, DataType.XATTR | DataType.JSON, 3, 4)
    try:
        xattrs, plain = unpack_xattrs(document)
    except ConnectionLostError as exc:
        assert "malformed attributes of b'k'" in str(exc)
    else:
        assert value == pack_xattrs(xattrs) + plain.value
        assert plain == document._replace(value=plain.value, datatype=DataType.JSON)


def test_a_document_without_attributes_is_as_it_was() -> None:
    document = Document(b"k", b"", 1, 2, DataType.JSON, 3, 4)
    assert unpack_xattrs(document) == ([], document)
