"""Names of extended attributes, and values that stand for what the change gives the item."""

from __future__ import annotations

import json

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.engine import (
    Edit,
    Get,
    Item,
    Outcome,
    PathProblem,
    Problem,
    Step,
    StepKind,
    StepResult,
    Store,
    XattrProblem,
    apply,
)

K = StepKind
CAS = b'"${Mutation.CAS}"'
SEQNO = b'"${Mutation.seqno}"'
CRC = b'"${Mutation.value_crc32c}"'


def item_of(engine) -> Item:
    return engine.execute([Get(b"k")])[0].item


def macro(path: bytes, value: bytes, kind: StepKind = K.UPSERT) -> Step:
    return Step(kind, path, value, create=True, xattr=True, macros=True)


def cas_text(cas: int) -> str:
    return "0x" + cas.to_bytes(8, "little").hex()


def crc_text(value: bytes) -> str:
    return f"0x{google_crc32c.value(value):08x}"


# Macros


def test_what_macros_stand_for(engine) -> None:
    engine.execute([Store(b"k", b"no document")])
    for _ in range(3):
        (outcome,) = engine.execute([Edit(b"k", (macro(b"m.cas", CAS), macro(b"m.seqno", SEQNO), macro(b"m.crc", CRC)))])
        item = item_of(engine)
        assert item.cas == outcome.cas
        assert json.loads(item.xattrs) == {
            "m": {"cas": cas_text(item.cas), "seqno": f"0x{item.seqno:016x}", "crc": crc_text(b"no document")}
        }


def test_how_they_are_written() -> None:
    """Like the hexadecimal of the eight bytes in memory, which is little-endian; the others are numbers."""
    from trio_spool.engine._subdocument import Version

    steps = (macro(b"a", CAS), macro(b"b", SEQNO), macro(b"c", CRC))
    _, item = apply(Edit(b"k", steps), Item(b"123456789"), version=Version(0x0102030405060708, 0xAB))
    assert item.xattrs == b'{"a":"0x0807060504030201","b":"0x00000000000000ab","c":"0xe3069283"}'


def test_several_in_one_transaction(engine) -> None:
    step = macro(b"all", CAS, K.PUSH_LAST)
    outcomes = engine.execute([Store(b"k", b"{}"), Edit(b"k", (step,)), Edit(b"k", (step, macro(b"s", SEQNO)))])
    assert json.loads(item_of(engine).xattrs) == {
        "all": [cas_text(outcome.cas) for outcome in outcomes[1:]],
        "s": f"0x{outcomes[2].seqno:016x}",
    }


def test_in_a_document_that_is_made(engine) -> None:
    (outcome,) = engine.execute([Edit(b"k", (macro(b"cas", CAS), macro(b"crc", CRC)), create=True)])
    assert json.loads(item_of(engine).xattrs) == {"cas": cas_text(outcome.cas), "crc": crc_text(b"{}")}


@pytest.mark.parametrize("last", [False, True])
def test_the_checksum_is_of_the_value_as_it_is_stored(engine, last: bool) -> None:
    """Attributes come first in a request: what is known of them must not depend on that."""
    engine.execute([Store(b"k", b"{}")])
    document = (Step(K.UPSERT, b"a", b"1"), Step(K.COUNTER, b"n", b"4"), Step(K.COUNTER, b"n", b"3"))
    steps = (*document, macro(b"crc", CRC)) if last else (document[0], macro(b"crc", CRC), *document[1:])
    (outcome,) = engine.execute([Edit(b"k", steps)])
    assert sorted(result.value for result in outcome.results) == [b"", b"", b"4", b"7"]
    item = item_of(engine)
    assert item.value == b'{"a":1,"n":7}'
    assert json.loads(item.xattrs) == {"crc": crc_text(item.value)}


def test_all_or_nothing_with_a_checksum(engine) -> None:
    engine.execute([Store(b"k", b"{}")])
    before = item_of(engine)
    (outcome,) = engine.execute([Edit(b"k", (macro(b"crc", CRC), Step(K.UPSERT, b"a", b"1"), Step(K.REMOVE, b"b")))])
    assert outcome == Outcome(Problem.PATH, results=(StepResult(), StepResult(), StepResult(PathProblem.NOT_FOUND)))
    assert item_of(engine) == before


@pytest.mark.parametrize("value", [b'"${Mutation.cas}"', b'"${}"', b'"${Mutation.CAS} "', b'"${$document.CAS}"'])
def test_an_unknown_macro(engine, value: bytes) -> None:
    engine.execute([Store(b"k", b"{}")])
    (outcome,) = engine.execute([Edit(b"k", (macro(b"x", value),))])
    assert outcome == Outcome(Problem.PATH, results=(StepResult(XattrProblem.UNKNOWN_MACRO),))
    assert item_of(engine).xattrs == b""


@pytest.mark.parametrize("value", [b'"$Mutation.CAS"', b'"{Mutation.CAS}"', b"5", b'["${Mutation.CAS}"]'])
def test_values_that_are_no_macros(engine, value: bytes) -> None:
    engine.execute([Store(b"k", b"{}"), Edit(b"k", (macro(b"x", value),))])
    assert item_of(engine).xattrs == b'{"x":%s}' % value


def test_where_macros_mean_nothing(engine) -> None:
    steps = (Step(K.UPSERT, b"x", CAS, xattr=True), Step(K.UPSERT, b"a", CAS, macros=True))
    engine.execute([Store(b"k", b"{}"), Edit(b"k", steps)])
    assert item_of(engine).xattrs == b'{"x":%s}' % CAS
    assert item_of(engine).value == b'{"a":%s}' % CAS


# Names


def change(path: bytes, kind: StepKind = K.UPSERT, xattrs: bytes = b"") -> bytes | XattrProblem | PathProblem:
    """Return the attributes after a change, or the problem."""
    outcome, item = apply(Edit(b"k", (Step(kind, path, b"1", create=True, xattr=True),)), Item(b"", xattrs=xattrs))
    return item.xattrs if outcome.problem is None else outcome.results[0].problem


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"a", b'{"a":1}'),
        (b"_sync", b'{"_sync":1}'),
        (b"a" * 15, b'{"%s":1}' % (b"a" * 15)),
        (b"a" * 15 + b".b", b'{"%s":{"b":1}}' % (b"a" * 15)),
        (b"a." + b"b" * 20, b'{"a":{"%s":1}}' % (b"b" * 20)),
        (b"a.`b.c`", b'{"a":{"b.c":1}}'),
        ("ü".encode() * 7, '{"üüüüüüü":1}'.encode()),
        (b"a b", b'{"a b":1}'),
        (b"", XattrProblem.KEY),
        (b"a" * 16, XattrProblem.KEY),
        (b"a" * 16 + b".b", XattrProblem.KEY),
        (b"a" * 16 + b"[0]", XattrProblem.KEY),
        ("ü".encode() * 8, XattrProblem.KEY),
        (b".a", XattrProblem.KEY),
        (b"[0]", XattrProblem.KEY),
        (b"_", XattrProblem.KEY),
        (b"_.a", XattrProblem.KEY),
        (b"$", XattrProblem.KEY),
        (b"$[0]", XattrProblem.KEY),
        (b"#a", XattrProblem.KEY),
        (b"~a", XattrProblem.KEY),
        (b"\x00a", XattrProblem.KEY),
        (b"\x7fa", XattrProblem.KEY),
        (b"$a", XattrProblem.READ_ONLY),
        # Quoting does not make a name of what is none, nor a virtual attribute of another.
        (b"`a`", XattrProblem.KEY),
        (b"`$document`", XattrProblem.KEY),
        (b"``$a", XattrProblem.KEY),
        (b"`" + b"a.b" * 10 + b"`", XattrProblem.KEY),
        (b"a..b", PathProblem.INVALID),
        (b"a\xff", PathProblem.INVALID),
    ],
)
def test_names(path: bytes, expected: bytes | XattrProblem | PathProblem) -> None:
    assert change(path) == expected


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from([b"", b".b", b"[0]"]))
def test_what_is_stored_has_a_name_of_1_to_16_bytes(name: str, rest: bytes) -> None:
    changed = change(name.encode() + rest)
    if isinstance(changed, bytes):
        (stored,) = json.loads(changed)
        assert 1 <= len(stored.encode()) <= 15
        assert not stored.startswith("$")
        assert stored.partition(".")[0] == stored
