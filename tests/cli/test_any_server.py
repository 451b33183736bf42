"""Servers that answer with any bytes: a command ends with status 0 or 1, in bounded time, and prints nothing that a terminal would obey."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from click.testing import CliRunner

from support.hostile import playing
from support.soaking import scaled
from trio_spool.cli import main
from trio_spool.mcbp import DOCUMENTS_EXTRAS, Opcode, Status, encode_response, pack_documents

CASES = scaled(60, 10_000)
COMMANDS = [
    "get HERE k --long", "get HERE k j --json", "get HERE k --collection s.c", "get HERE k -u ann", "set HERE k v", "delete HERE k", "scan HERE",
    "scan HERE --format csv --collection s.c", "dump HERE", "dump HERE DIRECTORY/out", "stat HERE", "stat HERE --json", "stat HERE timings", "stat HERE timings --json", "top HERE --once -i 0.01", "top HERE --once -i 0.01 --json", "ping HERE", "ping HERE -c 2 -i 0", "bucket list HERE",
    "bucket create HERE b", "bucket delete HERE b", "collection list HERE", "collection create HERE s.c", "collection drop HERE s.c",
    "incr HERE n", "decr HERE n 5 --initial 1 --json", "touch HERE k 1h", "expire HERE k", "expire HERE k 45d --collection s.c",
    "keys HERE", "keys HERE --json --collection s.c", "flush HERE", "flush HERE --collection s.c", "delete HERE k j",
    "dump HERE DIRECTORY/out.gz", "backup HERE DIRECTORY/b", "backup HERE DIRECTORY/b --bucket x", "load HERE DIRECTORY/file",
]  # fmt: skip
CONTENT = b"0123456789"
MANIFEST = {
    "uuid": "u",
    "files": [
        {"id": 1, "path": "data.mdb", "size": "10", "sha512": hashlib.sha512(CONTENT).hexdigest()},
        {"id": 2, "path": "trio-spool.json", "size": "10"},
    ],
}
COLLECTIONS = {"uid": "1", "scopes": [{"uid": "0", "name": "_default", "collections": [{"uid": "0", "name": "_default"}]}]}


def ok(opcode: Opcode, **fields: Any) -> bytes:
    return encode_response(opcode, fields.pop("status", Status.OK), 0, **fields)


# What a server answers that plays by the rules. Every other request is one that it need not know.
HONEST = {
    Opcode.GET: ok(Opcode.GET, extras=bytes(4), value=b"v", cas=1),
    Opcode.SET: ok(Opcode.SET, cas=1),
    Opcode.DELETE: ok(Opcode.DELETE),
    Opcode.INCREMENT: ok(Opcode.INCREMENT, value=bytes(8)),
    Opcode.DECREMENT: ok(Opcode.DECREMENT, value=b"\xff" * 8),
    Opcode.TOUCH: ok(Opcode.TOUCH),
    Opcode.FLUSH: ok(Opcode.FLUSH),
    Opcode.SUBDOC_GET: ok(Opcode.SUBDOC_GET, value=b"4294967295"),
    Opcode.HELLO: ok(Opcode.HELLO, value=b"\0\7\0\x0b\0\x12"),
    Opcode.SASL_AUTH: ok(Opcode.SASL_AUTH, status=Status.AUTH_CONTINUE, value=b"r=x,s=AAAA,i=4096"),
    Opcode.STAT: ok(Opcode.STAT, key=b"uuid", value=b"value") * 3 + ok(Opcode.STAT),
    Opcode.LIST_BUCKETS: ok(Opcode.LIST_BUCKETS, value=b"default other"),
    Opcode.SELECT_BUCKET: ok(Opcode.SELECT_BUCKET),
    Opcode.CREATE_BUCKET: ok(Opcode.CREATE_BUCKET),
    Opcode.DELETE_BUCKET: ok(Opcode.DELETE_BUCKET),
    Opcode.GET_COLLECTIONS_MANIFEST: ok(Opcode.GET_COLLECTIONS_MANIFEST, value=json.dumps(COLLECTIONS).encode()),
    Opcode.SET_COLLECTIONS_MANIFEST: ok(Opcode.SET_COLLECTIONS_MANIFEST),
    Opcode.GET_COLLECTION_ID: ok(Opcode.GET_COLLECTION_ID, extras=bytes(12)),
    Opcode.RANGE_SCAN_CREATE: ok(Opcode.RANGE_SCAN_CREATE, value=b"u" * 16),
    Opcode.RANGE_SCAN_CONTINUE: ok(
        Opcode.RANGE_SCAN_CONTINUE,
        status=Status.SCAN_COMPLETE,
        extras=DOCUMENTS_EXTRAS,
        value=b"".join(pack_documents([(b"k%d" % number, b"value", 0, 0, 0, 1, 1) for number in range(3)])),
    ),
    Opcode.PREPARE_SNAPSHOT: ok(Opcode.PREPARE_SNAPSHOT, value=json.dumps(MANIFEST).encode()),
    Opcode.RELEASE_SNAPSHOT: ok(Opcode.RELEASE_SNAPSHOT),
    Opcode.GET_FILE_FRAGMENT: ok(Opcode.GET_FILE_FRAGMENT, value=CONTENT + google_crc32c.value(CONTENT).to_bytes(4, "big")),
    Opcode.SUBDOC_DICT_UPSERT: ok(Opcode.SUBDOC_DICT_UPSERT),
}


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """Return an answer that is not what it should be."""
    changed = bytearray(frame)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 3)):
                changed[chance.randrange(24)] = chance.randrange(256)
        case 1:
            del changed[chance.randrange(len(changed) + 1) :]
        case 2:
            changed *= chance.randint(2, 30)
        case 3:
            sizes = chance.choice((0, 5, 300)), chance.choice((0, 4, 8, 12, 20)), chance.randint(0, 60)
            key, extras, value = map(chance.randbytes, sizes)
            changed[:] = encode_response(frame[1], chance.choice((0, *Status)), 0, key=key, extras=extras, value=value)
        case 4:
            text = chance.choice((b"[", b'{"error":', b'{"uid":', b"\x1b[2J\n", b"9")) * chance.randint(1, 20_000)
            changed[:] = encode_response(frame[1], chance.choice((0, 0, 4, 0x84)), 0, value=text)
        case _:
            for _ in range(5 if len(changed) > 24 else 0):
                changed[24 + chance.randrange(len(changed) - 24)] = chance.choice(b'{}[]":,0123456789-.eaE\x00\xff')
    return bytes(changed)


@pytest.mark.timeout(scaled(120, 3600))
def test_any_answers(tmp_path: Path) -> None:
    for seed in range(CASES):
        chance = random.Random(seed)
        answers = dict(HONEST)
        for opcode in chance.sample(sorted(answers), chance.choice((1, 1, 2, 4, 10))):
            answers[opcode] = mutated(chance, answers[opcode])
        directory = tmp_path / str(seed)
        directory.mkdir()
        line = {"key": "k", "value": "{}", "xattrs": {"a": "1"}, "bucket": "b", "collection": "s.c"}
        (directory / "file").write_text(json.dumps(line) + "\n")
        words = chance.choice(COMMANDS)
        with playing(answers) as here:
            arguments = words.replace("HERE", here).replace("DIRECTORY", str(directory)).split()
            result = CliRunner().invoke(main, [*arguments, "--timeout", "0.2"], env={"TRIO_SPOOL_PASSWORD": "pencil"})
        case = f"seed {seed}: {words}: {result.output[-500:]!r}"
        assert result.exit_code in (0, 1), case
        assert result.exception is None or isinstance(result.exception, SystemExit), case
        assert all(text.isprintable() for line in result.output.split("\n") for text in line.split("\t")), case
        if result.exit_code:
            assert result.output.splitlines()[-1].startswith("Error: "), case
