"""dump, load and backup, of what transactions have staged."""

from __future__ import annotations

import json
import socket
import struct

from support.commands import run
from trio_spool.mcbp import Opcode, PathFlag, encode_request
from trio_spool.testing import running_server

XATTR = PathFlag.XATTR
ADD_DELETED, MAKE = b"\x0e", b"\1"


def stage(port: int, key: bytes, flags: bytes) -> int:
    """Store something in the attribute of transactions, and return the status."""
    path, value = b"txn", b'{"op":"staged"}'
    step = struct.pack(">BBHL", Opcode.SUBDOC_DICT_UPSERT, XATTR, len(path), len(value)) + path + value
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(encode_request(Opcode.HELLO, value=b"\0\6"))
        connection.recv(100)
        connection.sendall(encode_request(Opcode.SUBDOC_MULTI_MUTATION, key=key, extras=flags, value=step))
        return int.from_bytes(connection.recv(100)[6:8], "big")


def deleted(port: int, key: bytes) -> bool:
    """Return whether there is a deleted document."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(encode_request(Opcode.GET_META, key=key))
        reply = connection.recv(100)
        return reply[6:8] == b"\0\0" and reply[24:28] == b"\0\0\0\1"


def test_a_dump_has_documents_with_their_attributes_and_no_deleted_ones(tmp_path) -> None:
    with running_server() as server, running_server() as other:
        assert stage(server.port, b"changed", MAKE) == 0
        assert stage(server.port, b"inserted", ADD_DELETED) == 0xCD
        run("dump", f"127.0.0.1:{server.port}", tmp_path / "dump")
        run("load", f"127.0.0.1:{other.port}", tmp_path / "dump")
        documents = [json.loads(line) for line in run("dump", f"127.0.0.1:{other.port}").splitlines()]
        assert [(each["key"], each["xattrs"]) for each in documents if "key" in each] == [("changed", {"txn": '{"op":"staged"}'})]
        assert not deleted(other.port, b"inserted")


def test_a_backup_has_everything(tmp_path) -> None:
    with running_server(data_dir=tmp_path / "data") as server:
        assert stage(server.port, b"changed", MAKE) == 0
        assert stage(server.port, b"inserted", ADD_DELETED) == 0xCD
        run("backup", f"127.0.0.1:{server.port}", tmp_path / "backup")
    assert "1 item" in run("verify", tmp_path / "backup")
    run("restore", tmp_path / "backup", tmp_path / "restored")
    with running_server(data_dir=tmp_path / "restored") as server:
        assert deleted(server.port, b"inserted")
    assert "1 items" in run("check", tmp_path / "restored")
