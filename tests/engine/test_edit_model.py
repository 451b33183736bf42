"""Edits of several steps, against a model that works on parsed documents."""

from __future__ import annotations

import json
from typing import Any

import google_crc32c
import hypothesis.strategies as st
from hypothesis import event, given, settings

from trio_spool.engine import Edit, Item, PathProblem, Problem, Step, StepKind, apply
from trio_spool.engine._apply import Deleted
from trio_spool.engine._subdocument import Version

K = StepKind
VERSION = Version(0x1122334455667788, 99)
CAS, CRC = "${Mutation.CAS}", "${Mutation.value_crc32c}"
MOST = 40

NAMES = st.sampled_from(["a", "b"])
LEAVES = st.integers(0, 100) | st.sampled_from(["x", None, True])
OBJECTS = st.dictionaries(NAMES, LEAVES | st.lists(LEAVES, max_size=2), max_size=2)
KINDS = [K.ADD, K.UPSERT, K.REPLACE, K.REMOVE, K.PUSH_LAST, K.PUSH_FIRST]
STEPS = st.one_of(
    st.tuples(st.sampled_from(KINDS), NAMES, LEAVES | st.sampled_from([CAS, CRC]), st.booleans()),
    st.tuples(st.just(K.SET_DOCUMENT), st.just(""), OBJECTS | st.just(b"not JSON"), st.just(False)),
    st.tuples(st.sampled_from([K.REMOVE_DOCUMENT, K.GET]), st.just(""), st.none(), st.just(False)),
)


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def step_of(kind: StepKind, name: str, value: Any, xattr: bool) -> Step:
    return Step(kind, name.encode(), value if isinstance(value, bytes) else compact(value), True, xattr, macros=xattr)


class Model:
    """What is edited: the members of a document, or the bytes of what is none, and the attributes."""

    def __init__(self, document: dict[str, Any] | bytes, attributes: dict[str, Any], datatype: int) -> None:
        self.document = document
        self.attributes = dict(attributes)
        self.datatype = datatype
        self.removed = False

    @property
    def value(self) -> bytes:
        return self.document if isinstance(self.document, bytes) else compact(self.document)

    def carry_out(self, kind: StepKind, name: str, value: Any, xattr: bool) -> PathProblem | None:
        if kind is K.SET_DOCUMENT:
            self.document, self.datatype = value, 0 if isinstance(value, bytes) else 1
            return None
        if kind is K.REMOVE_DOCUMENT:
            self.removed = True
            return None
        if kind is K.GET:
            return PathProblem.INVALID
        if xattr:
            return self.change(self.attributes, kind, name, value)
        if isinstance(self.document, bytes):
            return PathProblem.NOT_JSON
        members = dict(self.document)
        problem = self.change(members, kind, name, value)
        if problem is None:
            self.document, self.datatype = members, 1
        return problem

    def change(self, members: dict[str, Any], kind: StepKind, name: str, value: Any) -> PathProblem | None:
        if name not in members and kind in (K.REPLACE, K.REMOVE):
            return PathProblem.NOT_FOUND
        if name in members and kind is K.ADD:
            return PathProblem.EXISTS
        if kind is K.REMOVE:
            del members[name]
        elif kind in (K.PUSH_FIRST, K.PUSH_LAST):
            array = members.get(name, [])
            if not isinstance(array, list):
                return PathProblem.MISMATCH
            members[name] = [value, *array] if kind is K.PUSH_FIRST else [*array, value]
        else:
            members[name] = value
        return None

    def xattrs(self) -> bytes:
        if not self.attributes:
            return b""
        text = compact(self.attributes).replace(CAS.encode(), b"0x8877665544332211")
        return text.replace(CRC.encode(), b"0x%08x" % google_crc32c.value(self.value))


@settings(max_examples=1000)
@given(
    st.none() | OBJECTS | st.just(b"not JSON"),
    OBJECTS,
    st.lists(STEPS, max_size=5),
    st.none() | st.integers(0, 9),
    st.booleans(),
    st.booleans(),
)
def test_against_the_model(document, attributes, steps, expiry, create, add) -> None:
    exists = document is not None
    before = Model(document, attributes, 4) if exists else Model({}, {}, 1)
    current = Item(before.value, 7, 5, 4, 1, 2, before.xattrs()) if exists else None
    model = before
    outcome, change = apply(
        Edit(b"k", tuple(step_of(*step) for step in steps), expiry, 1, create, add, max_size=MOST), current, version=VERSION
    )
    if not exists and not (create or add):
        assert (outcome.problem, change) == (Problem.NOT_FOUND, None)
        return
    if exists and add:
        assert (outcome.problem, change) == (Problem.EXISTS, None)
        return
    if not exists and next((kind for kind, *_, xattr in steps if not xattr), None) in (K.PUSH_FIRST, K.PUSH_LAST):
        event("pushes into a new document")  # an object, as the path is not empty
    problems = []
    for step in steps:
        problems.append(model.carry_out(*step))
        if problems[-1]:
            break
    if any(problems):
        assert (outcome.problem, change) == (Problem.PATH, None)
    elif model.removed:
        assert outcome.problem is None
        assert isinstance(change, Deleted) if exists else change is None
    elif len(model.value) > MOST:
        event("too big")
        assert (outcome.problem, outcome.results, change) == (Problem.TOO_BIG, (), None)
        return
    else:
        event("changed")
        old = current if exists else Item(b"")
        assert outcome.problem is None
        assert change == old._replace(
            value=model.value, datatype=model.datatype, xattrs=model.xattrs(), expiry=old.expiry if expiry is None else expiry
        )
    assert [result.problem for result in outcome.results] == problems
