"""Edits at paths of documents: each kind of step, and what becomes of the item around them."""

from __future__ import annotations

import json

import pytest

from support.storage import writer_held
from trio_spool.engine import (
    Delete,
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
)

K = StepKind
JSON = 1


def document_of(engine, key: bytes = b"k") -> Item | None:
    return engine.execute([Get(key)])[0].item


# The document, the step, what becomes of the document (or the problem), and what the step returns.
STEPS = [
    (b'{"a":1}', Step(K.ADD, b"b", b"2"), b'{"a":1,"b":2}', b""),
    (b'{"a":1}', Step(K.ADD, b"a", b"2"), PathProblem.EXISTS, b""),
    (b'{"a":1}', Step(K.ADD, b"b.c", b"2"), PathProblem.NOT_FOUND, b""),
    (b'{"a":1}', Step(K.ADD, b"b.c", b"2", create=True), b'{"a":1,"b":{"c":2}}', b""),
    (b'{"a":1}', Step(K.UPSERT, b"a", b"[2]"), b'{"a":[2]}', b""),
    (b'{"a":1}', Step(K.UPSERT, b"b", b"2"), b'{"a":1,"b":2}', b""),
    (b'{"a":1}', Step(K.UPSERT, b"b.c", b"2"), PathProblem.NOT_FOUND, b""),
    (b'{"a":1}', Step(K.UPSERT, b"b.c", b"2", create=True), b'{"a":1,"b":{"c":2}}', b""),
    (b'{"a":1}', Step(K.UPSERT, b"a", b"not JSON"), PathProblem.CANT_INSERT, b""),
    (b'{"a":1}', Step(K.REPLACE, b"a", b"2"), b'{"a":2}', b""),
    (b'{"a":1}', Step(K.REPLACE, b"b", b"2"), PathProblem.NOT_FOUND, b""),
    (b'{"a":1,"b":2}', Step(K.REMOVE, b"a"), b'{"b":2}', b""),
    (b'{"a":1}', Step(K.REMOVE, b"b"), PathProblem.NOT_FOUND, b""),
    (b'{"a":[1]}', Step(K.PUSH_LAST, b"a", b"2,3"), b'{"a":[1,2,3]}', b""),
    (b"{}", Step(K.PUSH_LAST, b"a", b"2"), PathProblem.NOT_FOUND, b""),
    (b"{}", Step(K.PUSH_LAST, b"a", b"2", create=True), b'{"a":[2]}', b""),
    (b"[1]", Step(K.PUSH_LAST, b"", b"2"), b"[1,2]", b""),
    (b'{"a":[1]}', Step(K.PUSH_FIRST, b"a", b"2"), b'{"a":[2,1]}', b""),
    (b"{}", Step(K.PUSH_FIRST, b"a", b"2"), PathProblem.NOT_FOUND, b""),
    (b"{}", Step(K.PUSH_FIRST, b"a", b"2", create=True), b'{"a":[2]}', b""),
    (b'{"a":[1,3]}', Step(K.INSERT, b"a[1]", b"2"), b'{"a":[1,2,3]}', b""),
    (b'{"a":[1,3]}', Step(K.INSERT, b"a[3]", b"2"), PathProblem.NOT_FOUND, b""),
    (b'{"a":[1]}', Step(K.ADD_UNIQUE, b"a", b"2"), b'{"a":[1,2]}', b""),
    (b'{"a":[1]}', Step(K.ADD_UNIQUE, b"a", b"1"), PathProblem.EXISTS, b""),
    (b"{}", Step(K.ADD_UNIQUE, b"a", b"1"), PathProblem.NOT_FOUND, b""),
    (b"{}", Step(K.ADD_UNIQUE, b"a", b"1", create=True), b'{"a":[1]}', b""),
    (b'{"a":40}', Step(K.COUNTER, b"a", b"2"), b'{"a":42}', b"42"),
    (b'{"a":"x"}', Step(K.COUNTER, b"a", b"2"), PathProblem.MISMATCH, b""),
    (b"{}", Step(K.COUNTER, b"a.b", b"-2"), PathProblem.NOT_FOUND, b""),
    (b"{}", Step(K.COUNTER, b"a.b", b"-2", create=True), b'{"a":{"b":-2}}', b"-2"),
    (b"{}", Step(K.GET, b"a"), PathProblem.INVALID, b""),
    (b"{}", Step(K.EXISTS, b"a"), PathProblem.INVALID, b""),
    (b"{}", Step(K.COUNT, b"a"), PathProblem.INVALID, b""),
    (b"{}", Step(K.GET_DOCUMENT), PathProblem.INVALID, b""),
]


def _step_id(value: object) -> str:
    return f"{value.kind.value}-{value.path!r}-{value.create}" if isinstance(value, Step) else ""


@pytest.mark.parametrize(("document", "step", "expected", "returned"), STEPS, ids=_step_id)
def test_step_on_a_document(engine, document: bytes, step: Step, expected: bytes | PathProblem, returned: bytes) -> None:
    (before,) = engine.execute([Store(b"k", document, 7, 5000, 2)])
    (outcome,) = engine.execute([Edit(b"k", (step,), datatype=JSON)])
    if isinstance(expected, PathProblem):
        assert outcome == Outcome(Problem.PATH, results=(StepResult(expected),))
        assert document_of(engine) == Item(document, 7, 5000, 2, before.cas, before.seqno)
    else:
        assert outcome == Outcome(cas=outcome.cas, seqno=before.seqno + 1, results=(StepResult(value=returned),))
        assert outcome.cas > before.cas
        assert document_of(engine) == Item(expected, 7, 5000, JSON, outcome.cas, outcome.seqno)


@pytest.mark.parametrize(
    ("document", "step", "expected", "returned"),
    # Attributes are an object: there is nothing to be had of arrays.
    [(document, *rest) for document, *rest in STEPS if document.startswith(b"{") and rest[0].kind is not K.GET_DOCUMENT],
    ids=_step_id,
)
def test_step_on_xattrs(engine, document: bytes, step: Step, expected: bytes | PathProblem, returned: bytes) -> None:
    attributes = json.loads(document)
    setup = tuple(
        Step(K.UPSERT, name.encode(), json.dumps(value, separators=(",", ":")).encode(), xattr=True)
        for name, value in attributes.items()
    )
    _, before = engine.execute([Store(b"k", b"no document", 7, 5000, 2), Edit(b"k", setup)])
    xattrs = document if attributes else b""
    assert document_of(engine) == Item(b"no document", 7, 5000, 2, before.cas, before.seqno, xattrs)
    (outcome,) = engine.execute([Edit(b"k", (step._replace(xattr=True),), datatype=JSON)])
    if isinstance(expected, PathProblem):
        assert outcome == Outcome(Problem.PATH, results=(StepResult(expected),))
        assert document_of(engine) == Item(b"no document", 7, 5000, 2, before.cas, before.seqno, xattrs)
    else:
        assert outcome == Outcome(cas=outcome.cas, seqno=before.seqno + 1, results=(StepResult(value=returned),))
        assert document_of(engine) == Item(b"no document", 7, 5000, 2, outcome.cas, outcome.seqno, expected)


def test_the_last_attribute_is_removed(engine) -> None:
    engine.execute([Store(b"k", b"v")])
    for path in (b"a", b"b"):
        engine.execute([Edit(b"k", (Step(K.UPSERT, path, b" {} ", xattr=True),))])
    assert document_of(engine).xattrs == b'{"a":{},"b":{}}'
    engine.execute([Edit(b"k", (Step(K.REMOVE, b"a", xattr=True),))])
    assert document_of(engine).xattrs == b'{"b":{}}'
    engine.execute([Edit(b"k", (Step(K.REMOVE, b"b", xattr=True),))])
    assert document_of(engine).xattrs == b""


def test_a_value_that_is_no_document(engine) -> None:
    engine.execute([Store(b"k", b"no document")])
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"),))])
    assert outcome == Outcome(Problem.PATH, results=(StepResult(PathProblem.NOT_JSON),))


# Several steps


def test_later_steps_see_what_earlier_ones_did(engine) -> None:
    engine.execute([Store(b"k", b"{}")])
    steps = (
        Step(K.UPSERT, b"a", b"[1]"),
        Step(K.PUSH_LAST, b"a", b"2"),
        Step(K.COUNTER, b"a[1]", b"5"),
        Step(K.UPSERT, b"x", b"{}", xattr=True),
        Step(K.COUNTER, b"x.n", b"3", xattr=True),
        Step(K.REMOVE, b"a[0]"),
    )
    (outcome,) = engine.execute([Edit(b"k", steps)])
    assert [result.value for result in outcome.results] == [b"", b"", b"7", b"", b"3", b""]
    assert document_of(engine)[0] == b'{"a":[7]}'
    assert document_of(engine).xattrs == b'{"x":{"n":3}}'


@pytest.mark.parametrize("xattr", [False, True])
def test_all_or_nothing(engine, xattr: bool) -> None:
    engine.execute([Store(b"k", b'{"a":1}')])
    before = document_of(engine)
    good = (Step(K.UPSERT, b"b", b"1"), Step(K.UPSERT, b"x", b"1", xattr=True), Step(K.COUNTER, b"a", b"1"))
    bad = Step(K.REPLACE, b"none", b"1", xattr=xattr)
    (outcome,) = engine.execute([Edit(b"k", (*good, bad, *good), expiry=5000)])
    results = (StepResult(), StepResult(), StepResult(value=b"2"), StepResult(PathProblem.NOT_FOUND))
    assert outcome == Outcome(Problem.PATH, results=results)
    assert document_of(engine) == before


def test_no_steps(engine) -> None:
    (before,) = engine.execute([Store(b"k", b"v", 7, 5000, 1)])
    (outcome,) = engine.execute([Edit(b"k", ())])
    assert (outcome.problem, outcome.results) == (None, ())
    assert document_of(engine) == Item(b"v", 7, 5000, 1, outcome.cas, before.seqno + 1)


# The item


@pytest.mark.parametrize("cas", ["none", "wrong", "right"])
def test_cas(engine, cas: str) -> None:
    (before,) = engine.execute([Store(b"k", b"{}")])
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"),), cas={"none": 0, "wrong": 7, "right": before.cas}[cas])])
    assert outcome.problem is (Problem.EXISTS if cas == "wrong" else None)
    assert document_of(engine)[0] == (b"{}" if cas == "wrong" else b'{"a":1}')
    assert engine.execute([Edit(b"none", (), create=True, cas=7)]) == [Outcome(Problem.NOT_FOUND)]


def test_a_missing_item(engine) -> None:
    assert engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"),))]) == [Outcome(Problem.NOT_FOUND)]
    assert document_of(engine) is None


@pytest.mark.parametrize(
    ("steps", "value", "xattrs"),
    [
        ((Step(K.UPSERT, b"a", b"1"),), b'{"a":1}', b""),
        ((Step(K.UPSERT, b"x", b"1", xattr=True),), b"{}", b'{"x":1}'),
        ((Step(K.UPSERT, b"x", b"1", xattr=True), Step(K.PUSH_LAST, b"", b"1")), b"[1]", b'{"x":1}'),
        ((Step(K.PUSH_LAST, b"x", b"1", xattr=True, create=True), Step(K.UPSERT, b"a", b"1")), b'{"a":1}', b'{"x":[1]}'),
        ((Step(K.PUSH_FIRST, b"", b"1"),), b"[1]", b""),
        ((Step(K.ADD_UNIQUE, b"", b"1"), Step(K.ADD_UNIQUE, b"", b"2")), b"[1,2]", b""),
        ((Step(K.PUSH_LAST, b"a", b"1", create=True),), b'{"a":[1]}', b""),
        ((Step(K.COUNTER, b"a", b"5"),), b'{"a":5}', b""),
        ((Step(K.SET_DOCUMENT, b"", b"[]"),), b"[]", b""),
        ((), b"{}", b""),
    ],
)
@pytest.mark.parametrize("how", [{"create": True}, {"add": True}, {"create": True, "add": True}])
def test_an_item_is_made(engine, steps: tuple[Step, ...], value: bytes, xattrs: bytes, how: dict[str, bool]) -> None:
    (outcome,) = engine.execute([Edit(b"k", steps, datatype=JSON, **how)])
    assert outcome.problem is None
    assert document_of(engine) == Item(value, 0, 0, JSON, outcome.cas, outcome.seqno, xattrs)


def test_nothing_is_made_when_a_step_fails(engine) -> None:
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"), Step(K.REPLACE, b"b", b"1")), create=True)])
    assert outcome.problem is Problem.PATH
    assert document_of(engine) is None


def test_create_and_add_where_there_is_one(engine) -> None:
    engine.execute([Store(b"k", b'{"a":1}')])
    steps = (Step(K.UPSERT, b"b", b"1"),)
    for create in (False, True):
        assert engine.execute([Edit(b"k", steps, add=True, create=create)]) == [Outcome(Problem.EXISTS)]
    assert engine.execute([Edit(b"k", steps, create=True)])[0].problem is None
    assert document_of(engine)[0] == b'{"a":1,"b":1}'


@pytest.mark.parametrize(("given", "expected"), [(None, 5000), (0, 0), (6000, 6000)])
def test_expiry(engine, given: int | None, expected: int) -> None:
    engine.execute([Store(b"k", b"{}", expiry=5000)])
    engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"),), expiry=given)])
    assert document_of(engine).expiry == expected
    engine.execute([Edit(b"new", (), create=True, expiry=given)])
    assert document_of(engine, b"new").expiry == (given or 0)


def test_an_expiry_that_was_given_is_kept_to(engine, clock) -> None:
    engine.execute([Store(b"k", b"{}"), Edit(b"k", (Step(K.UPSERT, b"x", b"1", xattr=True),), expiry=1005)])
    clock.now = 1005
    assert document_of(engine) is None
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1"),), create=True)])
    assert document_of(engine) == Item(b'{"a":1}', 0, 0, 0, outcome.cas, outcome.seqno)
    engine.writer.remove_expired()
    assert document_of(engine) is not None


@pytest.mark.parametrize(("most", "problem"), [(7, None), (6, Problem.TOO_BIG)])
def test_max_size(engine, most: int, problem: Problem | None) -> None:
    engine.execute([Store(b"k", b"{}")])
    steps = (Step(K.UPSERT, b"a", b"1"), Step(K.UPSERT, b"x", b"1" * 100, xattr=True))
    (outcome,) = engine.execute([Edit(b"k", steps, max_size=most)])
    assert outcome.problem is problem
    assert document_of(engine)[0] == (b"{}" if problem else b'{"a":1}')
    # What counts is the end.
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"b", b"1" * 100), Step(K.REMOVE, b"b")), max_size=most)])
    assert outcome.problem is None


# Whole documents


@pytest.mark.parametrize(("value", "datatype"), [(b'[{"a":1}]', JSON), (b" 5 ", JSON), (b"not JSON", 0), (b"", 0)])
def test_set_document(engine, value: bytes, datatype: int) -> None:
    engine.execute([Store(b"k", b"old", 7, 5000)])
    steps = (Step(K.UPSERT, b"x", b"1", xattr=True), Step(K.SET_DOCUMENT, b"", value))
    (outcome,) = engine.execute([Edit(b"k", steps, datatype=JSON)])
    assert outcome.results == (StepResult(), StepResult())
    assert document_of(engine) == Item(value, 7, 5000, datatype, outcome.cas, outcome.seqno, b'{"x":1}')


def test_remove_document(engine) -> None:
    engine.execute([Store(b"k", b"no document"), Edit(b"k", (Step(K.UPSERT, b"x", b"1", xattr=True),))])
    (before,) = engine.execute([Get(b"k")])
    (outcome,) = engine.execute([Edit(b"k", (Step(K.REMOVE_DOCUMENT),))])
    assert outcome == Outcome(cas=outcome.cas, seqno=before.item.seqno + 1, results=(StepResult(),))
    assert outcome.cas > before.cas
    assert document_of(engine) is None
    assert engine.execute([Delete(b"k")]) == [Outcome(Problem.NOT_FOUND)]


def test_remove_document_among_others(engine) -> None:
    engine.execute([Store(b"k", b"{}")])
    bad = Edit(b"k", (Step(K.REMOVE_DOCUMENT), Step(K.REPLACE, b"a", b"1")))
    (outcome,) = engine.execute([bad])
    assert outcome == Outcome(Problem.PATH, results=(StepResult(), StepResult(PathProblem.NOT_FOUND)))
    assert document_of(engine) is not None
    (outcome,) = engine.execute([Edit(b"k", (Step(K.UPSERT, b"a", b"1" * 10), Step(K.REMOVE_DOCUMENT)), max_size=5)])
    assert outcome.problem is None
    assert document_of(engine) is None


def test_a_document_that_is_made_and_removed(engine) -> None:
    (outcome,) = engine.execute([Edit(b"k", (Step(K.REMOVE_DOCUMENT),), create=True)])
    assert outcome == Outcome(results=(StepResult(),))
    assert engine.seqno == 0
    assert document_of(engine) is None


def test_a_virtual_attribute_is_read_only(engine) -> None:
    engine.execute([Store(b"k", b"{}")])
    for kind in (K.ADD, K.UPSERT, K.REPLACE, K.REMOVE, K.PUSH_LAST, K.PUSH_FIRST, K.INSERT, K.ADD_UNIQUE, K.COUNTER):
        for path in (b"$document", b"$document.exptime", b"$other", b"$list[0]"):
            (outcome,) = engine.execute([Edit(b"k", (Step(kind, path, b"1", create=True, xattr=True),))])
            assert outcome == Outcome(Problem.PATH, results=(StepResult(XattrProblem.READ_ONLY),))


def test_values_of_steps_count_as_queued(engine) -> None:
    with writer_held(engine):
        engine.submit(
            [Edit(b"k", (Step(K.UPSERT, b"a", b"1" * 100), Step(K.UPSERT, b"b", b"1" * 50))), Store(b"k", b"12345")],
            lambda outcomes: None,
        )
        assert engine.statistics().queued_bytes == 155
    engine.execute([Get(b"k")])
    assert engine.statistics().queued_bytes == 0


def test_extended_attributes_are_bounded(make) -> None:
    engine = make()
    engine.execute([Store(b"k", b"{}")])
    fits, too_much = (b'"%s"' % (b"x" * size) for size in (1024 * 1024 - 100, 1024 * 1024))
    steps = [(Step(StepKind.UPSERT, b"name", value, xattr=True),) for value in (fits, too_much)]
    outcomes = engine.execute([Edit(b"k", each, max_size=1024 * 1024) for each in steps])
    assert [outcome.problem for outcome in outcomes] == [None, Problem.TOO_BIG]


def test_extended_attributes_and_the_value_share_the_limit_of_a_value(make) -> None:
    """A transaction stages a document of any size in the attributes of the one that it replaces."""
    engine = make()
    staged = b'"%s"' % (b"x" * 3_000_000)
    engine.execute([Store(b"k", b"x" * 1000)])
    steps = (Step(StepKind.UPSERT, b"txn", staged, xattr=True),)
    size = len(b'{"txn":}') + len(staged) + 1000
    outcomes = engine.execute([Edit(b"k", steps, max_size=limit) for limit in (size - 1, size)])
    assert [outcome.problem for outcome in outcomes] == [Problem.TOO_BIG, None]


def test_expiry_of_a_document_that_is_made(make) -> None:
    engine = make()
    steps = (Step(StepKind.UPSERT, b"a", b"1"),)
    made = Edit(b"k", steps, create=True, new_expiry=4_000_000_000)
    again = Edit(b"k", steps, create=True, new_expiry=4_100_000_000)
    engine.execute([made, again])
    assert engine.open_reader().get(b"k").expiry == 4_000_000_000
