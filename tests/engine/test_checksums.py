"""Checksums of records: what is damaged is refused, wherever it is met, and nothing else."""

from __future__ import annotations

import json
import logging
import random
import struct

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.storage import wait_until
from trio_spool.engine import (
    Concat,
    DamagedError,
    DataDirectoryError,
    Delete,
    Edit,
    EngineOptions,
    Flush,
    Get,
    Item,
    Lock,
    Problem,
    Remember,
    Remove,
    Step,
    StepKind,
    Store,
    StoreMode,
    Touch,
    open_engine,
)
from trio_spool.engine._damage import MAX_KNOWN, QUIET, DamageLog
from trio_spool.engine.lmdb._engine import LmdbEngine
from trio_spool.engine.lmdb._records import CHECKED, RECORD_SIZE, item_of, record_of
from trio_spool.engine.lmdb._scrub import Scrubber, verify_all

XATTR = Step(StepKind.UPSERT, b"x", b'{"a":1}', xattr=True)


def stored(engine, key: bytes) -> bytes:
    with engine.storage.env.begin(db=engine.storage.databases.items) as transaction:
        return transaction.get(key)


def overwrite(engine, key: bytes, record: bytes) -> None:
    """Change a record behind the engine's back."""
    with engine.storage.env.begin(write=True, db=engine.storage.databases.items) as transaction:
        transaction.put(key, record)


def flip(engine, key: bytes, bit: int) -> None:
    record = bytearray(stored(engine, key))
    record[bit // 8] ^= 1 << bit % 8
    overwrite(engine, key, bytes(record))


@pytest.fixture
def verifying(make_lmdb, options):
    return make_lmdb(verify_reads=True, **options)


@pytest.fixture
def plain(make_lmdb, options):
    return make_lmdb(**options)


items = st.builds(
    Item,
    st.binary(max_size=100) | st.binary(min_size=4090, max_size=4100),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 0x3F),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.just(b"") | st.binary(min_size=1, max_size=50),
)


@given(st.binary(min_size=1, max_size=50), items)
def test_any_item_survives(key: bytes, item: Item) -> None:
    assert item_of(key, record_of(key, item), True, True) == item


@given(st.binary(min_size=1, max_size=50), items, st.data())
def test_any_flipped_bit_is_found(key: bytes, item: Item, data) -> None:
    record = bytearray(record_of(key, item))
    bit = data.draw(st.integers(0, len(record) * 8 - 1))
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedError):
        item_of(key, bytes(record), True, True)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_an_item_or_damaged(record: bytes, verify: bool) -> None:
    for all_checked in (True, False):
        try:
            item_of(b"k", record, verify, all_checked)
        except DamagedError:
            pass


def test_a_record_belongs_to_its_key() -> None:
    record = record_of(b"k", Item(b"v"))
    with pytest.raises(DamagedError, match="b'j' is damaged: its checksum is wrong"):
        item_of(b"j", record, True, True)


def test_every_flipped_bit_is_refused_by_verified_reads(verifying) -> None:
    for key in (b"k", b"x"):
        verifying.execute([Store(key, b"value"), Edit(b"x", (XATTR,)) if key == b"x" else Get(b"k")])
        reader = verifying.open_reader()
        for bit in range(len(stored(verifying, key)) * 8):
            flip(verifying, key, bit)
            with pytest.raises(DamagedError):
                reader.get(key)
            with pytest.raises(DamagedError):
                reader.get_many([key, b"other"], 1000)
            reader.release()
            flip(verifying, key, bit)
        assert reader.get(key).value == b"value"
        assert reader.get_many([key], 1000)[0][0] == b"value"
        reader.release()


def test_a_run_of_reads_goes_up_to_what_is_damaged(verifying) -> None:
    verifying.execute([Store(b"a", b"1"), Store(b"b", b"2"), Store(b"c", b"3")])
    flip(verifying, b"b", RECORD_SIZE * 8)
    reader = verifying.open_reader()
    assert [item[0] for item in reader.get_many([b"a", b"b", b"c"], 1000)] == [b"1"]
    assert verifying.statistics().damaged == 0
    with pytest.raises(DamagedError, match="b'b'"):
        reader.get_many([b"b", b"c"], 1000)
    assert verifying.statistics().damaged == 1
    assert [item[0] for item in reader.get_many([b"c"], 1000)] == [b"3"]


def test_reads_that_do_not_verify_refuse_what_can_not_be(plain) -> None:
    plain.execute([Store(b"k", b"v"), Edit(b"k", (XATTR,))])
    reader = plain.open_reader()
    whole = stored(plain, b"k")
    for record in (
        b"",
        whole[:20],
        whole[: RECORD_SIZE + 2],
        bytes([whole[0] & ~CHECKED]) + whole[1:],
        whole[:29] + b"\xff" + whole[30:],
    ):
        overwrite(plain, b"k", record)
        for read in (lambda: reader.get(b"k"), lambda: reader.get_many([b"k"], 100), lambda: list(plain.entries())):
            with pytest.raises(DamagedError):
                read()
            reader.release()


@pytest.mark.parametrize("keys_only", [False, True])
@pytest.mark.parametrize("xattrs", [False, True])
def test_scans_verify(plain, keys_only: bool, xattrs: bool) -> None:
    plain.execute([Store(b"%03d" % number, b"v" * number) for number in range(100)] + [Edit(b"050", (XATTR,))])
    for bit in range(0, len(stored(plain, b"050")) * 8, 7):
        flip(plain, b"050", bit)
        with plain.snapshot(keys_only=keys_only, xattrs=xattrs) as snapshot:
            with pytest.raises(DamagedError, match="b'050' is damaged"):
                list(snapshot.records())
            assert len(list(snapshot.records(b"051"))) == 49
        flip(plain, b"050", bit)
    with plain.snapshot(keys_only=keys_only, xattrs=xattrs) as snapshot:
        assert len(list(snapshot.records())) == 100


def test_large_values_are_verified_by_scans(plain) -> None:
    plain.execute([Store(b"k", random.Random(1).randbytes(100_000))])
    flip(plain, b"k", 500_000)
    with plain.snapshot() as snapshot, pytest.raises(DamagedError):
        list(snapshot.records())


def test_nothing_is_made_of_a_damaged_item(plain) -> None:
    plain.execute([Store(b"k", b"value", expiry=5000)])
    flip(plain, b"k", RECORD_SIZE * 8 + 1)
    damaged = stored(plain, b"k")
    for operation in (
        Get(b"k"),
        Touch(b"k", 6000),
        Concat(b"k", b"x"),
        Edit(b"k", (XATTR,)),
        Store(b"k", b"v", cas=5),
        Store(b"k", b"v", keep_expiry=True),
        Store(b"k", b"v", mode=StoreMode.ADD),
        Store(b"k", b"v", mode=StoreMode.REPLACE),
        Delete(b"k", cas=5),
    ):
        before, refused, after = plain.execute([Store(b"before", b"v"), operation, Store(b"after", b"v")])
        assert refused.problem is Problem.DAMAGED
        assert before.problem is after.problem is None  # only that one is refused
        assert stored(plain, b"k") == damaged


@pytest.mark.parametrize("bit", [2, 50, 80, 90, 150, RECORD_SIZE * 8 + 1, -3])
@pytest.mark.parametrize("remedy", [Store(b"k", b"new"), Delete(b"k"), Remove(b"k"), Flush()])
def test_damage_can_be_overwritten_and_deleted(plain, clock, bit: int, remedy) -> None:
    plain.execute([Store(b"k", b"value", expiry=5000), Store(b"other", b"v", expiry=4000), Edit(b"k", (XATTR,))])
    flip(plain, b"k", bit % (len(stored(plain, b"k")) * 8))
    (outcome,) = plain.execute([remedy])
    assert outcome.problem is None
    (found,) = plain.execute([Get(b"k")])
    if isinstance(remedy, Store):
        assert found.item[:3] == (b"new", 0, 0)
        assert found.item.xattrs == b""
        assert plain.spaces[b"k"].items == 1
    else:
        assert found.problem is Problem.NOT_FOUND
        assert b"k" not in plain.spaces
    clock.now = 5001.0  # an entry for the old expiry may be left; it does no harm
    plain.writer.remove_expired()
    assert plain.statistics().items == (1 if isinstance(remedy, Store) else 0)


def test_locked_items_stay_locked(plain) -> None:
    plain.execute([Store(b"k", b"value"), Lock(b"k", 10)])
    flip(plain, b"k", RECORD_SIZE * 8)
    for operation in (Store(b"k", b"new"), Delete(b"k")):
        assert plain.execute([operation])[0].problem is Problem.DAMAGED


def test_expired_items_that_are_damaged_are_removed(plain, clock) -> None:
    plain.execute([Store(b"k", b"value", expiry=2000), Store(b"l", b"value", expiry=2000)])
    flip(plain, b"k", RECORD_SIZE * 8)
    flip(plain, b"l", 100)  # its expiry, so that nobody knows any more
    clock.now = 3000.0
    assert plain.writer.remove_expired() is False
    assert stored(plain, b"k") is None
    assert stored(plain, b"l") is not None


def test_copies_verify(plain, tmp_path) -> None:
    plain.execute([Store(b"%03d" % number, b"v" * 1000) for number in range(300)])
    flip(plain, b"250", RECORD_SIZE * 8)
    with pytest.raises(DamagedError, match="b'250'"):
        plain.copy_files(tmp_path / "copy", lambda: None)
    flip(plain, b"250", RECORD_SIZE * 8)
    plain.copy_files(tmp_path / "copy", lambda: None)


def test_verifying_for_a_copy_can_be_stopped(plain) -> None:
    plain.execute([Store(b"%04d" % number, b"v") for number in range(2000)])
    calls = []

    def check() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_all(plain.storage, check)
    assert len(calls) == 2


# The scrub


def scrubber(engine, rate: int = 1, **options) -> Scrubber:
    return Scrubber(engine.storage, engine.submit, rate, pause=lambda seconds: False, **options)


def test_the_scrub_finds_damage_and_goes_on(plain, caplog) -> None:
    plain.execute([Store(b"%04d" % number, b"v" * 100) for number in range(2000)])
    flip(plain, b"0003", RECORD_SIZE * 8)
    flip(plain, b"1500", 8)
    scrub = scrubber(plain)
    scrub.pass_in_thread()
    assert (scrub.items, scrub.passes) == (2000, 1)
    assert plain.statistics().damaged == 2
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the record of the key b'0003' is damaged: its checksum is wrong" in line.getMessage()
    assert "trio-spool check" in line.getMessage()


def test_the_scrub_keeps_to_its_rate(plain) -> None:
    plain.execute([Store(b"%04d" % number, b"v" * 1000) for number in range(1000)])
    pauses = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    Scrubber(plain.storage, plain.submit, 1000, pause=pause).pass_in_thread()
    assert sum(pauses) > 1000  # seconds for a megabyte at 1,000 bytes a second


def test_the_scrub_ends_when_the_engine_does(make_lmdb) -> None:
    engine = make_lmdb(scrub_rate=1)  # so that it would take for ever
    engine.execute([Store(b"%04d" % number, b"v" * 1000) for number in range(200)])
    engine.close()
    assert not engine.scrubber._thread.is_alive()


def test_the_scrub_runs_by_itself(make_lmdb) -> None:
    engine = make_lmdb(scrub_rate=1 << 30)
    wait_until(lambda: engine.statistics().scrubs)


# Directories of format 2


def make_old(path, count: int = 10) -> None:
    """Make a data directory as older versions wrote it."""
    engine = open_engine("lmdb", path, fsync="no", clock=lambda: 1000.0, expiry_interval=3600, space_of=lambda key: key[:1])
    engine.execute([Store(b"k%04d" % number, b"value" * number, 7, 5000) for number in range(count)])
    engine.execute([Edit(b"k0003", (XATTR,)), Remember(b"name", b"remembered")])
    engine.close()
    marker = path / "trio-spool.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 2}))
    with lmdb.open(str(path), max_dbs=8, map_size=1 << 26) as env:
        databases = {name: env.open_db(name) for name in (b"items", b"meta")}
        with env.begin(write=True) as transaction:
            for key, record in list(transaction.cursor(databases[b"items"])):
                transaction.put(key, bytes([record[0] & ~CHECKED]) + record[1:-4], db=databases[b"items"])
            for key, value in list(transaction.cursor(databases[b"meta"])):
                if key.startswith(b"checked:"):
                    transaction.delete(key, db=databases[b"meta"])
                    if key == b"checked:name":
                        transaction.put(b"memory:name", value[:-4], db=databases[b"meta"])
                else:
                    transaction.put(key, value[:-4], db=databases[b"meta"])


def contents(engine) -> dict[bytes, tuple]:
    with engine.snapshot(xattrs=True) as snapshot:
        return {record[0]: record for record in snapshot.records()}


@pytest.fixture
def old(tmp_path):
    make_old(tmp_path / "data", 1200)
    return tmp_path / "data"


class Idle(Scrubber):
    """One that does nothing by itself."""

    def start(self) -> None:
        pass


@pytest.fixture
def unswept(old, options):
    engine = LmdbEngine(EngineOptions(directory=old, fsync="no", verify_reads=True, **options), make_scrubber=Idle)
    yield engine
    engine.close()


def test_old_directories_keep_working(old, unswept) -> None:
    engine = unswept
    assert json.loads((old / "trio-spool.json").read_text())["format"] == 3  # older versions could not read what is written now
    assert engine.recall(b"name") == b"remembered"
    assert engine.spaces[b"k"].items == 1200
    reader = engine.open_reader()
    assert reader.get(b"k0002")[:3] == (b"valuevalue", 7, 5000)
    assert reader.get(b"k0003").xattrs == b'{"x":{"a":1}}'
    assert [item[0] for item in reader.get_many([b"k0001", b"k0003"], 1000)] == [b"value", b"value" * 3]
    reader.release()
    assert len(contents(engine)) == 1200
    (outcome,) = engine.execute([Concat(b"k0001", b"!")])
    assert outcome.problem is None
    assert stored(engine, b"k0001")[0] & CHECKED
    assert dict(engine.entries())[b"k0002"].size == 10


def test_old_records_are_given_checksums(old, make_lmdb, options) -> None:
    engine = make_lmdb(**options)  # without a scrub
    before = {key: record[1:] for key, record in contents(engine).items()}
    wait_until(lambda: engine.storage.all_checked)
    assert all(stored(engine, key)[0] & CHECKED for key in before)
    assert {key: record[1:] for key, record in contents(engine).items()} == before  # the same CAS and sequence number
    assert engine.seqno == 1201
    assert engine.spaces[b"k"].items == 1200
    engine.close()
    engine = make_lmdb(**options)
    assert engine.storage.all_checked
    assert engine.recall(b"name") == b"remembered"
    flip(engine, b"k0005", 6)  # the bit that says that there is a checksum
    with pytest.raises(DamagedError, match="it has no checksum, and every record has one"):
        engine.open_reader().get(b"k0005")


def test_a_sweep_that_is_interrupted_goes_on(unswept) -> None:
    engine = unswept
    calls = []

    def pause(seconds: float) -> bool:
        calls.append(seconds)
        return True

    scrub = Scrubber(engine.storage, engine.submit, 0, pause=pause)
    with pytest.raises(Exception, match="closed"):
        scrub.pass_in_thread()
    assert stored(engine, b"k0000")[0] & CHECKED
    assert not stored(engine, b"k1199")[0] & CHECKED
    assert not engine.storage.all_checked
    scrubber(engine, 0).pass_in_thread()
    assert engine.storage.all_checked
    assert stored(engine, b"k1199")[0] & CHECKED


def test_a_damaged_state_is_refused(make_lmdb, options, tmp_path) -> None:
    engine = make_lmdb(**options)
    engine.execute([Store(b"k", b"v"), Remember(b"name", b"value")])
    engine.close()
    for key in (b"state", b"space:k", b"checked:name"):
        with lmdb.open(str(tmp_path / "data"), max_dbs=8) as env:
            meta = env.open_db(b"meta")
            with env.begin(write=True, db=meta) as transaction:
                value = transaction.get(key)
                transaction.put(key, bytes([value[0] ^ 1]) + value[1:])
        with pytest.raises(DataDirectoryError, match=r"is damaged: its checksum is wrong.*restore a backup"):
            make_lmdb(**options)
        with lmdb.open(str(tmp_path / "data"), max_dbs=8) as env:
            meta = env.open_db(b"meta")
            with env.begin(write=True, db=meta) as transaction:
                transaction.put(key, value)
    make_lmdb(**options)


# The log


def test_damage_is_logged_once(caplog) -> None:
    now = [0.0]
    log = DamageLog("here", lambda: now[0])
    for _ in range(1000):
        log.met(DamagedError("one"))
    log.met(DamagedError("two"))
    log.met(DamagedError("three"))
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["here: one"]
    now[0] = QUIET
    log.met(DamagedError("four"))
    log.met(DamagedError("two"))
    assert "here: four; 2 more places" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2
    assert log.count == 1004
    for number in range(2 * MAX_KNOWN):
        log.met(DamagedError(str(number)))
    assert len(log._known) == MAX_KNOWN


def test_the_layout_is_what_it_says() -> None:
    record = record_of(b"key", Item(b"value", 1, 2, 3, 4, 5))
    assert record[:-4] == struct.pack(">BLQQQ", 3 | CHECKED, 1, 2, 4, 5) + b"value"
