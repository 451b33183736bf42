"""Looking into documents, and into attributes that are stored or virtual."""

from __future__ import annotations

import pytest

from trio_spool.engine import Item, PathProblem, Step, StepKind, StepProblem, StepResult, XattrProblem, lookup

K = StepKind
ITEM = Item(b'{"a":[1,2,{"b":null}],"s":"x"}', xattrs=b'{"x":{"y":[5]},"z":0}')


def fail() -> bytes:
    raise AssertionError("nobody asked for it")


VIRTUAL = {b"$document": lambda: b'{"CAS":"0x1","flags":7}', b"$list": lambda: b"[1,2]", b"$never": fail}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step(K.GET, b"a[2].b"), b"null"),
        (Step(K.GET, b""), ITEM.value),
        (Step(K.GET, b"none"), PathProblem.NOT_FOUND),
        (Step(K.GET, b"s[0]"), PathProblem.MISMATCH),
        (Step(K.GET, b"a["), PathProblem.INVALID),
        (Step(K.EXISTS, b"a[-1]"), b""),
        (Step(K.EXISTS, b"a[3]"), PathProblem.NOT_FOUND),
        (Step(K.COUNT, b"a"), b"3"),
        (Step(K.COUNT, b"s"), PathProblem.MISMATCH),
        (Step(K.GET_DOCUMENT), ITEM.value),
        (Step(K.GET, b"x", xattr=True), b'{"y":[5]}'),
        (Step(K.GET, b"x.y[0]", xattr=True), b"5"),
        (Step(K.GET, b"a", xattr=True), PathProblem.NOT_FOUND),
        (Step(K.GET, b"z.y", xattr=True), PathProblem.MISMATCH),
        (Step(K.EXISTS, b"z", xattr=True), b""),
        (Step(K.EXISTS, b"none", xattr=True), PathProblem.NOT_FOUND),
        (Step(K.COUNT, b"x.y", xattr=True), b"1"),
        (Step(K.GET, b"", xattr=True), XattrProblem.KEY),
        (Step(K.EXISTS, b"a" * 17, xattr=True), XattrProblem.KEY),
        (Step(K.GET, b"`x`", xattr=True), XattrProblem.KEY),
        (Step(K.GET, b"$document", xattr=True), b'{"CAS":"0x1","flags":7}'),
        (Step(K.GET, b"$document.flags", xattr=True), b"7"),
        (Step(K.GET, b"$document.none", xattr=True), PathProblem.NOT_FOUND),
        (Step(K.EXISTS, b"$document.CAS", xattr=True), b""),
        (Step(K.GET, b"$list[1]", xattr=True), b"2"),
        (Step(K.COUNT, b"$list", xattr=True), b"2"),
        (Step(K.GET, b"$other", xattr=True), XattrProblem.UNKNOWN_VIRTUAL),
        (Step(K.EXISTS, b"$docu.CAS", xattr=True), XattrProblem.UNKNOWN_VIRTUAL),
        (Step(K.GET, b"$document"), PathProblem.NOT_FOUND),
    ],
)
def test_lookup(step: Step, expected: bytes | StepProblem) -> None:
    result = StepResult(value=expected) if isinstance(expected, bytes) else StepResult(expected)
    assert lookup(ITEM, [step], VIRTUAL) == (result,)


def test_each_for_itself() -> None:
    steps = [Step(K.GET, b"none"), Step(K.GET, b"s"), Step(K.GET, b"none", xattr=True), Step(K.GET, b"z", xattr=True)]
    assert lookup(ITEM, steps, VIRTUAL) == (
        StepResult(PathProblem.NOT_FOUND),
        StepResult(value=b'"x"'),
        StepResult(PathProblem.NOT_FOUND),
        StepResult(value=b"0"),
    )
    assert lookup(ITEM, [], VIRTUAL) == ()


def test_many_lookups_in_a_document_that_is_wrong_at_its_end() -> None:
    """Each is answered as if it were alone: what is behind the value does not matter."""
    item = Item(b'{"a":[%b0],"b":2,"c":[nonsense' % (b"1," * 40_000))
    steps = [Step(K.GET, b"a[0]"), Step(K.GET, b"a[40000]"), Step(K.GET, b"b"), Step(K.GET, b"c[0]"), Step(K.COUNT, b"a")]
    expected = [StepResult(value=b"1"), StepResult(value=b"0"), StepResult(value=b"2"), StepResult(PathProblem.NOT_JSON)]
    assert lookup(item, steps, VIRTUAL) == (*expected, StepResult(value=b"40001"))
    assert [lookup(item, [step], VIRTUAL)[0] for step in steps[:4]] == expected


def test_an_item_that_is_no_document_and_has_no_attributes() -> None:
    item = Item(b"\xff not JSON")
    steps = [Step(K.GET, b"a"), Step(K.GET_DOCUMENT), Step(K.EXISTS, b"x", xattr=True), Step(K.GET, b"$list", xattr=True)]
    assert lookup(item, steps, VIRTUAL) == (
        StepResult(PathProblem.NOT_JSON),
        StepResult(value=b"\xff not JSON"),
        StepResult(PathProblem.NOT_FOUND),
        StepResult(value=b"[1,2]"),
    )
