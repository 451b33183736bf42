"""Reading JSON documents by path, as Couchbase's sub-document API does. Pure functions that block for long documents.

A path consists of keys and indices: ``a.b[0].`c.d`[-1]``. A key with dots or brackets in it stands between backticks, where a
doubled backtick is one backtick; ``[-1]`` is the last element. The empty path is the whole document.

Documents stay text: an edit must leave everything outside of the edited place as it was, byte for byte, down to how numbers are
written. So everything here works on positions in the text. The standard library's decoder, which is in C, finds where a value
ends, and the decoded value is thrown away. Of members with the same key, the first one counts.

The rest of a document, after the value that a path leads to, is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Any, Final, NamedTuple, NoReturn, Union

# The maximum of a path in bytes, and in components, as in Couchbase.
_MAX_PATH: Final = 1024
_MAX_COMPONENTS: Final = 32

BLANKS: Final = " \t\n\r"

_GAP: Final = re.compile(r"[ \t\n\r]*")
_PLAIN_KEY: Final = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_COLON: Final = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMPONENT: Final = re.compile(
    r"\[(?P<index>-1|[0-9]+)\]"
    r"|(?:\A|(?!\A)\.)(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[^`.\[\]](?:[^`.\[\]]|``)*))"
)

# A string is a key, and a number is an index.
Component = Union[str, int]


class PathProblem(Enum):
    """Why a document can't be read or edited."""

    NOT_FOUND = "not found"
    MISMATCH = "the structure of the document does not match the path"
    INVALID = "invalid path"
    TOO_BIG = "path too long"
    NOT_JSON = "the document is not JSON"
    EXISTS = "exists"
    CANT_INSERT = "the value is not JSON, or can't be put there"
    DELTA = "invalid delta"
    NUMBER_RANGE = "the number is out of range"
    TOO_DEEP = "the document is nested too deep"


class PathError(Exception):
    """A document can't be read or edited."""

    def __init__(self, problem: PathProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which the decoder would accept."""
    raise ValueError(f"not JSON: {name}")


# Numbers are not converted: `int` is slow on long ones, and refuses those of more than 4300 digits.
DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant)


class Place(NamedTuple):
    """The place of a value, as positions in the text.

    Attributes:
        before: The position of the bracket or the comma before it; -1 for the whole document.
        begin: Where its member begins, at the key; for an element, where the value begins.
        value: Where the value begins.
        key: The key of a member; None for an element.
        followers: The characters that may follow; the empty string is the end of the text.
    """

    before: int
    begin: int
    value: int
    key: str | None
    followers: tuple[str, ...]


class _Value(NamedTuple):
    """A value with its numbers as strings, the position of its end, and that of the comma or the bracket after it."""

    parsed: Any
    end: int
    following: int


# Paths


def parse_path(path: bytes) -> list[Component]:
    """Return the components of a path."""
    if len(path) > _MAX_PATH:
        raise PathError(PathProblem.TOO_BIG)
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise PathError(PathProblem.INVALID) from None
    components: list[Component] = []
    position = 0
    while position < len(text):
        match = _COMPONENT.match(text, position)
        if match is None:
            raise PathError(PathProblem.INVALID)
        position = match.end()
        index, quoted, plain = match.group("index", "quoted", "plain")
        components.append(int(index) if index else (quoted or plain).replace("``", "`"))
        if len(components) > _MAX_COMPONENTS:
            raise PathError(PathProblem.TOO_BIG)
    return components


# Walking


def _decode(document: bytes) -> str:
    try:
        return document.decode()
    except UnicodeDecodeError:
        raise PathError(PathProblem.NOT_JSON) from None


def check(document: bytes) -> str:
    """Return the text of a document, having read all of it."""
    text = _decode(document)
    read(text, _root(text))
    return text


def _root(text: str) -> Place:
    begin = skip_blanks(text, 0)
    return Place(-1, begin, begin, None, ("",))


def skip_blanks(text: str, position: int) -> int:
    """Return the position of the next character that is not a blank."""
    match = _GAP.match(text, position)
    assert match is not None  # it matches the empty string as well
    return match.end()


def scan(text: str, position: int) -> tuple[Any, int]:
    """Return the value that begins at a position, with its numbers as strings, and the position of its end."""
    try:
        parsed, end = DECODER.raw_decode(text, position)
    except RecursionError:
        raise PathError(PathProblem.TOO_DEEP) from None
    except ValueError:
        raise PathError(PathProblem.NOT_JSON) from None
    return parsed, end


def read(text: str, place: Place) -> _Value:
    """Read a value, and check what comes after it."""
    parsed, end = scan(text, place.value)
    following = skip_blanks(text, end)
    if text[following : following + 1] not in place.followers:
        raise PathError(PathProblem.NOT_JSON)
    return _Value(parsed, end, following)


def _read_key(text: str, position: int) -> tuple[str, int]:
    """Return a key, and the position of the value after it."""
    match = _PLAIN_KEY.match(text, position)
    if match is not None:
        return match[1], match.end()
    key, end = scan(text, position)
    colon = _COLON.match(text, end)
    if colon is None or text[position] != '"':
        raise PathError(PathProblem.NOT_JSON)
    return key, colon.end()


def _children(text: str, opening: int) -> Iterator[Place]:
    """Walk the members of an object, or the elements of an array.

    A value is read when the place after it is wanted. So nothing is read twice on the way to a value deep inside.
    """
    in_object = text[opening] == "{"
    closing = "}" if in_object else "]"
    before, begin = opening, skip_blanks(text, opening + 1)
    if text.startswith(closing, begin):
        return
    while True:
        key, value = _read_key(text, begin) if in_object else (None, begin)
        place = Place(before, begin, value, key, (",", closing))
        yield place
        before = read(text, place).following
        if text[before] == closing:
            return
        begin = skip_blanks(text, before + 1)


def _child(text: str, parent: Place, component: Component) -> Place | None:
    if not text.startswith("{" if isinstance(component, str) else "[", parent.value):
        read(text, parent)
        raise PathError(PathProblem.MISMATCH)
    children = _children(text, parent.value)
    if isinstance(component, str):
        return next((child for child in children if child.key == component), None)
    if component >= 0:
        return next(islice(children, min(component, len(text)), None), None)
    last = None
    for last in children:  # noqa: B007 - it is used after the loop
        pass
    return last


def walk(text: str, components: Sequence[Component]) -> tuple[Place, Sequence[Component]]:
    """Follow a path as far as it exists.

    Returns:
        The value where it ends, and the components that are missing. If some are, that value is an object without the first of
        them, if that is a key, or an array without it, if it is an index.
    """
    place = _root(text)
    for depth, component in enumerate(components):
        child = _child(text, place, component)
        if child is None:
            return place, components[depth:]
        place = child
    return place, ()


def find(text: str, components: Sequence[Component]) -> Place:
    """Return the place that a path leads to."""
    place, missing = walk(text, components)
    if missing:
        raise PathError(PathProblem.NOT_FOUND)
    return place


# The lookups


def is_json(data: bytes) -> bool:
    """Return whether bytes are a document that can be edited: JSON that is not nested too deep."""
    try:
        check(data)
    except PathError:
        return False
    return True


def get(document: bytes, path: bytes) -> bytes:
    """Return the text of a value; for the empty path, the document as it is."""
    components = parse_path(path)
    if not components:
        check(document)
        return document
    text = _decode(document)
    place = find(text, components)
    return text[place.value : read(text, place).end].encode()


def exists(document: bytes, path: bytes) -> None:
    """Raise PathError if the path leads to no value."""
    components = parse_path(path)
    text = _decode(document)
    read(text, find(text, components))


def count(document: bytes, path: bytes) -> bytes:
    """Return the number of elements of an array, or of members of an object, in decimal; MISMATCH for other values."""
    components = parse_path(path)
    text = _decode(document)
    place = find(text, components)
    parsed = read(text, place).parsed
    if isinstance(parsed, list):
        return b"%d" % len(parsed)
    if isinstance(parsed, dict):
        return b"%d" % sum(1 for _ in _children(text, place.value))  # the dict has only one of several members with the same key
    raise PathError(PathProblem.MISMATCH)
