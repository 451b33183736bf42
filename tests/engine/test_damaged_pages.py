"""Damaged pages of a database that is in use: an error for whoever needs them, where LMDB would end the process."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap

import pytest

from trio_spool.engine.lmdb._pages import Pages, parse_tree, read_metas
from trio_spool.engine.lmdb._probing import begin_probed

PAGE = 4096
SCRIPT = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from trio_spool.engine import DamagedError, Get, Remove, Store, open_engine
    from trio_spool.engine.lmdb._scrub import Scrubber

    path, start, behind = Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
    engine = open_engine("lmdb", path, fsync="no", clock=lambda: 1000.0, expiry_interval=3600)
    said = {}

    def damaged(name, function):
        try:
            function()
        except DamagedError:
            said[name] = True
        else:
            said[name] = False

    def read(start=b"", **options):
        with engine.snapshot(**options) as snapshot:
            keys, position = [], start
            try:
                while position is not None:
                    records, position, _ = snapshot.read(position, None, max_records=100, max_bytes=10_000)
                    keys += [record[0] for record in records]
            finally:
                said["read"] = len(keys)

    damaged("entries", lambda: list(engine.entries()))
    damaged("scan", read)
    said["before"] = said["read"]
    damaged("keys", lambda: read(keys_only=True))
    damaged("scan behind", lambda: read(behind))
    damaged("copy", lambda: engine.copy_files(path.with_name("copy"), lambda: None))
    damaged("copy as it is", lambda: engine.copy(lambda piece: None))
    damaged("get", lambda: engine.open_reader().get(start))
    damaged("get behind", lambda: engine.open_reader().get(behind))
    scrubber = Scrubber(engine.storage, engine.submit, 1, pause=lambda seconds: False)
    scrubber.pass_in_thread()
    said["scrubbed"] = scrubber.items
    outcomes = engine.execute([Store(b"zz", b"v")])
    said["store"] = outcomes[0].problem is None
    outcomes = engine.execute([Store(b"zz", b"v"), Get(start), Store(b"zz", b"w"), Get(b"zz")])
    said["alone"] = [outcome.problem.value if outcome.problem else None for outcome in outcomes] == [None, "damaged", None, None]
    outcomes = engine.execute([Store(b"zz", b"x"), *[Get(start)] * 30])
    said["too many"] = outcomes[0].problem is not None and getattr(engine.execute([Get(b"zz")])[0].item, "value", b"") == b"w"
    outcomes = engine.execute([Remove(b"k", 5000)])
    said["remove"] = outcomes[0].problem is not None
    said["counted"] = engine.statistics().damaged > 5
    engine.close()
    print(json.dumps(said))
""")


def fill(path) -> None:
    from trio_spool.engine import Store, open_engine

    chance = random.Random(1)
    with open_engine("lmdb", path, fsync="no", clock=lambda: 1000.0, expiry_interval=3600) as engine:
        for start in range(0, 4000, 500):
            engine.execute([Store(b"k%05d" % number, chance.randbytes(100)) for number in range(start, start + 500)])


def leaves(path) -> list:
    with (path / "data.mdb").open("rb") as file:
        meta = read_metas(file.fileno())[0]
        pages = Pages(file.fileno(), meta)
        trees = {node.key: parse_tree(node, 0) for leaf in pages.leaves(meta.main) for node in leaf.nodes if node.is_tree}
        return list(pages.leaves(trees[b"items"]))


@pytest.mark.parametrize("content", ["zeros", "random", "another page"])
def test_a_damaged_leaf(tmp_path, content: str) -> None:
    path = tmp_path / "data"
    fill(path)
    found = leaves(path)
    number = len(found) // 2
    leaf, behind = found[number], found[number + 1]
    with (path / "data.mdb").open("r+b") as file:
        file.seek(found[3].page * PAGE)
        other = file.read(PAGE)
        file.seek(leaf.page * PAGE)
        file.write({"zeros": bytes(PAGE), "random": random.Random(3).randbytes(PAGE), "another page": other}[content])
    before = sum(len(each.nodes) for each in found[:number])
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, leaf.nodes[0].key.hex(), behind.nodes[0].key.hex()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout)
    for name in ("alone", "too many"):
        assert said.pop(name) or content != "zeros"
    assert said.pop("get") or content != "zeros"  # LMDB looks at the kind of the page, and at nothing else
    assert said == {
        "entries": True, "scan": True, "read": 4000 - before - len(leaf.nodes), "before": before, "keys": True, "scan behind": False,
        "copy": True, "copy as it is": True, "get behind": False, "scrubbed": 4000 - len(leaf.nodes), "store": True, "remove": True,
        "counted": True,
    }  # fmt: skip
    assert process.stderr.count("requests for it are refused") == 1


def test_a_damaged_branch(tmp_path) -> None:
    path = tmp_path / "data"
    fill(path)
    with (path / "data.mdb").open("r+b") as file:
        meta = read_metas(file.fileno())[0]
        pages = Pages(file.fileno(), meta)
        trees = {node.key: parse_tree(node, 0) for leaf in pages.leaves(meta.main) for node in leaf.nodes if node.is_tree}
        file.seek(trees[b"items"].root * PAGE)
        file.write(bytes(PAGE))
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, b"k00001".hex(), b"k03000".hex()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout)
    assert said["entries"] and said["scan"] and said["copy"] and said["get"] and not said["store"]


def test_a_probe_is_of_the_transaction_that_reads(tmp_path) -> None:
    """Two commits later, the meta page of a transaction is gone: then there is another transaction."""
    from trio_spool.engine import Store, open_engine

    with open_engine("lmdb", tmp_path, fsync="no", expiry_interval=3600) as engine:
        storage = engine.storage
        reading = storage.reading()
        probe, calls = storage.probe, []

        def late(transaction: int, name: bytes = b"items"):
            calls.append(transaction)
            if len(calls) < 3:
                for _ in range(2):
                    engine.execute([Store(b"k%d" % len(calls), b"v")])
            return probe(transaction, name)

        storage.probe = late
        with reading.lock:
            transaction, found = begin_probed(storage, reading)
            assert len(calls) == 3
            assert found is not None
            assert transaction.id() == calls[-1]
            assert found.look_ahead(b"", 10) is None
            reading.end()
        storage.probe = lambda transaction, name=b"items": None
        with reading.lock:
            assert begin_probed(storage, reading)[1] is None
            reading.end()
