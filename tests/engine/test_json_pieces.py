"""Documents that are longer than a piece, or nested deep: against the standard library, and against the same steps one by one."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from support.documents import PIECES
from trio_spool.engine import PathError, PathProblem, is_json
from trio_spool.engine import _json_edits as edits
from trio_spool.engine import _json_paths as paths
from trio_spool.engine._json_checkpoints import Checkpoints
from trio_spool.engine._json_document import Document
from trio_spool.engine._json_grammar import MAX_NESTING

WORDS = st.sampled_from(["", "a", "new", "é", "\n", "\\", '"', "x" * 30, "\U0001f600", "/", "[", "}"])
SCALARS = st.one_of(st.integers(-5, 10**12), st.floats(allow_nan=False, allow_infinity=False), WORDS, st.sampled_from([True, None]))
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(st.lists(inside, max_size=6), st.dictionaries(WORDS, inside, max_size=6)),
    max_leaves=40,
)
SIZES = st.sampled_from(PIECES)
# Characters that make valid documents often, and invalid ones that are nearly valid.
SOUP = st.text(st.sampled_from('{}[],:"\\u0e1-.+ \n\ttruefalsn\x01é'), max_size=40)


def expected(text: str) -> bool:
    try:
        json.loads(text, parse_constant=lambda name: json.loads("?"))
    except ValueError:
        return False
    return True


def written(data, value: object) -> str:
    """Write a value as some program would."""
    return json.dumps(
        value, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1])),
        separators=data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])),
    )  # fmt: skip


def checks(text: str, piece: int) -> bool:
    try:
        Document(text.encode(), piece=piece).check()
    except PathError as exc:
        assert exc.problem is PathProblem.NOT_JSON
        return False
    return True


@given(st.data(), VALUES, SIZES)
def test_what_is_json_is_what_the_standard_library_takes(data, value, piece) -> None:
    text = written(data, value)
    assert checks(text, piece)
    position = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(position, min(len(text), position + 3)))
    changed = text[:position] + data.draw(st.one_of(st.just(""), SOUP.map(lambda soup: soup[:3]))) + text[end:]
    assert checks(changed, piece) is expected(changed)


@given(SOUP, SIZES)
def test_soup(text, piece) -> None:
    assert checks(text, piece) is expected(text)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("opening, inside, closing", [("[", "", "]"), ("[", "1", "]"), ('{"a":', "1", "}"), ("[ 0, ", "0", " ]")])
def test_nesting_has_one_limit(opening: str, inside: str, closing: str, piece: int) -> None:
    def nested(levels: int) -> bytes:
        return (opening * levels + (inside or "") + closing * levels).encode()

    Document(nested(MAX_NESTING), piece=piece).check()
    for levels in (MAX_NESTING + 1, 100_000):
        with pytest.raises(PathError) as caught:
            Document(nested(levels), piece=piece).check()
        assert caught.value.problem is PathProblem.TOO_DEEP
        assert not is_json(nested(levels))


@pytest.mark.parametrize("levels", [MAX_NESTING - 2, MAX_NESTING - 1])
def test_a_value_can_make_a_document_too_deep(levels: int) -> None:
    """The value is inside two containers."""
    value = b"[" * levels + b"]" * levels
    calls = [
        (edits.add, b"a.b", (value, True)), (edits.upsert, b"a.b", (value, True)), (edits.replace, b"a.x", (value,)),
        (edits.push_last, b"l", (value[1:-1], True)), (edits.push_first, b"l", (value[1:-1], True)),
        (edits.insert, b"l[0]", (value[1:-1],)), (edits.push_last, b"m", (value[1:-1], True)),
    ]  # fmt: skip
    for function, path, arguments in calls:
        document = Document(b'{"a":{"x":1},"l":[]}')
        deeper = function in (edits.push_last, edits.push_first, edits.insert)
        try:
            function(document, path, *((b"[%b]" % arguments[0],) if deeper else arguments[:1]), *arguments[1:])
        except PathError as exc:
            assert exc.problem is PathProblem.VALUE_TOO_DEEP
            assert levels > MAX_NESTING - 2
        else:
            assert levels <= MAX_NESTING - 2
            Document(document.content).check()


KEYS = ["a", "new", "é", "k\\n", "x" * 30]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "remove", "replace", "push_last", "push_first", "insert", "counter", "get", "count"]),
        st.lists(st.one_of(st.sampled_from(KEYS), st.integers(-1, 4)), min_size=1, max_size=4),
        SCALARS.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    ),
    min_size=1,
    max_size=8,
)


def path_of(components) -> bytes:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in components)
    return text.removeprefix(".").encode()


def carry_out(document: Document, name: str, path: bytes, value: bytes) -> object:
    arguments = {"counter": (b"3", True), "remove": (), "get": (), "count": (), "replace": (value,), "insert": (value,)}
    function = getattr(paths, name, None) or getattr(edits, name)
    try:
        return function(document, path, *arguments.get(name, (value, True)))
    except PathError as exc:
        return exc.problem


@given(st.data(), st.dictionaries(st.sampled_from(["a", "new", "é", "k\n", "x" * 30, "other"]), VALUES), STEPS)
def test_steps_on_one_document_are_as_steps_on_documents_of_their_own(data, root, steps) -> None:
    """What is known of a document from its check is kept up when it changes."""
    text = written(data, root).encode()
    document = Document(text, piece=data.draw(SIZES))
    document.check()
    for name, components, value in steps:
        path = path_of(components)
        own = Document(text)
        assert carry_out(document, name, path, value) == carry_out(own, name, path, value)
        text = own.content
        assert document.content == text


def large(count: int) -> dict[str, object]:
    return {f"key {number}": {"new": [number, {"x": "é\n", "deep": [[[[number]]]]}]} for number in range(count)}


@pytest.mark.parametrize("ascii_only", [False, True])
def test_keys_that_are_in_many_values_and_long_documents(ascii_only: bool) -> None:
    root = {**large(3000), "ключ": 1, "list": list(range(20_000)), "tail": "x" * 100_000}
    document = Document(json.dumps(root, ensure_ascii=ascii_only).encode())
    document.check()
    for key in ("new", "x", "other"):
        edits.upsert(document, key.encode(), b"[1]", False)
        root[key] = [1]
    edits.replace(document, "ключ".encode(), b'"a\\u0062c"')
    edits.push_last(document, b"list", b"-1", False)
    edits.replace(document, b"list[10000]", b"null")
    edits.remove(document, b"list[-1]")
    edits.counter(document, b"key 2999.new[0]", b"1", False)
    with pytest.raises(PathError, match="exists"):
        edits.add_unique(document, b"list", b"19999", False)
    root["ключ"], root["list"][10_000] = "abc", None
    root["key 2999"]["new"][0] += 1
    assert json.loads(document.content) == root
    assert list(json.loads(document.content)) == list(root)
    assert paths.count(document, b"") == b"%d" % len(root)


@pytest.mark.parametrize("number", ["2.25e-31", "-10.5E+3", "1e5", "0.125", "-0", "1234567890"])
def test_a_number_at_the_end_of_a_piece(number: str) -> None:
    text = b'{"a":%b}' % number.encode()
    for piece in range(5, 30):
        document = Document(text, piece=piece)
        assert paths.get(document, b"a") == number.encode()
        document.check()
        edits.replace(document, b"a", b"1")
        assert document.content == b'{"a":1}'


def test_a_key_with_an_escape_that_comes_with_a_value() -> None:
    """It was known that there is none before."""
    document = Document(b'{"pad":"%b","old":1}' % (b"x" * 100_000))
    edits.upsert(document, b"old", b"2", False)
    edits.upsert(document, b"x", rb'{"\u0061bc":1,"text":"\n"}', False)
    assert paths.get(document, b"x.abc") == b"1"
    edits.upsert(document, b"x.abc", b"2", False)
    assert document.content.endswith(rb',"x":{"\u0061bc":2,"text":"\n"}}')


def test_checkpoints_of_a_part_that_was_replaced() -> None:
    """That a container ends there is known from the next checkpoint."""
    checkpoints = Checkpoints()
    for position, opened, least in ((100, b"[[", 1), (200, b"[[", 1), (300, b"[[", 2), (400, b"[[", 2)):
        checkpoints.add(position, opened, least)
    ends_behind = checkpoints.last_before_closing(100, 1)
    assert ends_behind is None  # it ends before 200
    checkpoints.shift(150, 250, 1000)
    assert checkpoints.last_before_closing(100, 1) is None
    assert checkpoints.next_after(150) == 1300
    after = checkpoints.last_before_closing(1300, 1)
    assert after is not None
    assert (after.position, after.opened) == (1400, b"[[")


def test_indices_are_counted_once() -> None:
    """What is remembered of an array is right after each change of it."""
    root = [[number, {"a": [number] * 3}] for number in range(5000)]
    document = Document(json.dumps(root).encode())
    document.check()
    for index in (4000, 3999, 10, 4500, 4999, 2000, 0):
        edits.replace(document, b"[%d][1].a[2]" % index, b'"x"')
        root[index][1]["a"][2] = "x"
        edits.insert(document, b"[%d]" % index, b'[-1,{"a":[0,0,0]}],[-2,{"a":[0,0,0]}]')
        root[index:index] = [[-1, {"a": [0, 0, 0]}], [-2, {"a": [0, 0, 0]}]]
        edits.remove(document, b"[%d]" % (index // 2))
        del root[index // 2]
        for other in (index, 1023, 1024, 1025, 4998):
            assert json.loads(paths.get(document, b"[%d]" % other)) == root[other]
    assert json.loads(document.content) == root
    with pytest.raises(PathError, match="not found"):
        paths.get(document, b"[%d]" % len(root))


def test_work_rests_between_pieces_and_can_be_ended() -> None:
    class Ended(Exception):
        pass

    rests = []

    def rest() -> None:
        rests.append(None)
        if len(rests) == 20:
            raise Ended

    document = Document(b"[%b0]" % (b"1," * 500_000), rest)
    with pytest.raises(Ended):
        document.check()
    for text in (b"[" * 400 + b"]" * 400, b'{"a":"%b"}' % (b"\\n" * 100_000), b"9" * 200_000, b" " * 200_000 + b"1"):
        rests.clear()
        document = Document(text, lambda: rests.append(None), piece=1024)
        document.check()
        assert len(rests) >= len(text) // 2048


@pytest.mark.parametrize(
    "path, found",
    [
        (rb"a\"b", b"1"), (rb"`a\"b`", b"1"), (rb"back\\slash", b"2"), (rb"line\nfeed", b"3"), (rb"sl\/ash", b"4"), (b"sl/ash", b"4"),
        (rb"\\.\"", b"5"), (b'a"b', PathProblem.INVALID), (rb"a\x", PathProblem.INVALID), (b"a\\", PathProblem.INVALID),
        (rb"\u0061", PathProblem.INVALID), (b"line\nfeed", PathProblem.INVALID), (b"a\x00", PathProblem.INVALID),
        (rb"`a\`", PathProblem.INVALID), (rb"a\`b", PathProblem.INVALID),
    ],
)  # fmt: skip
def test_a_key_in_a_path_is_written_as_in_json(path: bytes, found: bytes | PathProblem) -> None:
    text = json.dumps({'a"b': 1, "back\\slash": 2, "line\nfeed": 3, "sl/ash": 4, "\\": {'"': 5}, "a": 6}).encode()
    assert carry_out(Document(text), "get", path, b"") == found
    if isinstance(found, bytes):
        document = Document(b"{}")
        edits.upsert(document, path, found, True)
        assert paths.get(document, path) == found
        assert json.loads(document.content)


def test_members() -> None:
    text = b' { "a\\n" : [1, 2] ,"n":1' + b"0" * 5000 + b', "\\ud800": "\\ud800" } '
    assert list(paths.members(text)) == [(rb"a\n", b"[1, 2]"), (b"n", b"1" + b"0" * 5000), (rb"\ud800", rb'"\ud800"')]
    assert list(paths.members(b" { } ")) == []
    with pytest.raises(PathError):
        list(paths.members(b"[]"))
