"""Editing JSON documents by path, in their text: everything outside of the edited place stays as it was, byte for byte.

Each function checks its path, then its value, and then the whole document. If it fails, the document is as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from ._json_document import Component, Document, Place
from ._json_grammar import GRAMMAR
from ._json_paths import parse_path
from ._json_problems import PathError, PathProblem
from ._json_text import COMMA

_INT64: Final = range(-(1 << 63), 1 << 63)
_MAX_DIGITS: Final = 20  # of a signed number of 64 bits, with its sign
_BLANKS: Final = b" \t\n\r"

_INTEGER: Final = re.compile(rb"-?[0-9]+")
_DELTA: Final = re.compile(rb"[+-]?[0-9]{1,19}")


# Arguments


def _parse_not_empty(path: bytes) -> list[Component]:
    components = parse_path(path)
    if not components:
        raise PathError(PathProblem.INVALID)
    return components


def _parse_to_key(path: bytes) -> list[Component]:
    components = _parse_not_empty(path)
    if not isinstance(components[-1], str):
        raise PathError(PathProblem.INVALID)
    return components


def _given(document: Document, value: bytes, around: int, *, several: bool = False) -> bytes:
    """Return the text of a value, or of several values with commas between them, without the blanks around.

    Args:
        document: Where the value is to be put.
        value: As above.
        around: The number of containers that will be around it; for several, with their array.
        several: As above.
    """
    text = value.strip(_BLANKS)
    given = Document(b"[%b]" % text if several else text, document.rest, document.piece)
    try:
        if text:
            given.check(around - several)
            return text
    except PathError as exc:
        if exc.problem is PathProblem.TOO_DEEP:
            raise PathError(PathProblem.VALUE_TOO_DEEP) from None
    raise PathError(PathProblem.CANT_INSERT)


def _given_delta(delta: bytes) -> int:
    number = int(delta) if _DELTA.fullmatch(delta) else 0
    if number == 0 or number not in _INT64:
        raise PathError(PathProblem.DELTA)
    return number


# Changing the text


def _append(document: Document, container: Place, new: bytes) -> None:
    """Put members or elements after all others, and before the blanks there."""
    if document.is_empty(container):
        document.splice(container.value + 1, container.value + 1, new)
        return
    in_object = document.is_object(container)
    around = container.around + 1
    position = document.skip_blanks(document.last_item(container))
    if in_object:
        _, position = document.skip_key(position)
    end = document.skip_value(position, around)
    document.splice(end, end, b"," + new)


def _put_in_front(document: Document, begin: int, new: bytes) -> None:
    """Put elements in front of the one that begins at a position, or of the bracket there."""
    document.splice(begin, begin, new if document.at(begin) == 0x5D else new + b",")


def _make(document: Document, place: Place, missing: Sequence[Component], value: bytes, *, parents: bool) -> None:
    """Create a missing member, and with `parents` the objects around it."""
    if len(missing) > 1 and not parents:
        raise PathError(PathProblem.NOT_FOUND)
    keys = [json.dumps(key, ensure_ascii=False).encode() for key in missing if isinstance(key, str)]
    if len(keys) < len(missing):
        raise PathError(PathProblem.NOT_FOUND)
    for key in reversed(keys[1:]):
        value = b"{%b:%b}" % (key, value)
    _append(document, place, b"%b:%b" % (keys[0], value))


def _find_array(document: Document, components: Sequence[Component], value: bytes, create: bool) -> Place | None:
    """Return the place of an array; None if a new array with a value in it was created there."""
    place, missing = document.walk(components)
    if missing:
        if not create:
            raise PathError(PathProblem.NOT_FOUND)
        _make(document, place, missing, b"[%b]" % value, parents=True)
        return None
    if not document.is_array(place):
        raise PathError(PathProblem.MISMATCH)
    return place


# The edits


def add(document: Document, path: bytes, value: bytes, create: bool) -> None:
    """Add a member to an object: EXISTS if it is there, NOT_FOUND if the object is missing and `create` is not set."""
    components = _parse_to_key(path)
    new = _given(document, value, len(components))
    document.check()
    place, missing = document.walk(components)
    if not missing:
        raise PathError(PathProblem.EXISTS)
    _make(document, place, missing, new, parents=create)


def upsert(document: Document, path: bytes, value: bytes, create: bool) -> None:
    """Add a member to an object, or replace its value: NOT_FOUND if the object is missing and `create` is not set."""
    components = _parse_to_key(path)
    new = _given(document, value, len(components))
    document.check()
    place, missing = document.walk(components)
    if missing:
        _make(document, place, missing, new, parents=create)
    else:
        document.splice(place.value, document.read(place)[0], new)


def replace(document: Document, path: bytes, value: bytes) -> None:
    """Replace the value of a member or an element that exists."""
    components = _parse_not_empty(path)
    new = _given(document, value, len(components))
    document.check()
    place = document.find(components)
    document.splice(place.value, document.read(place)[0], new)


def remove(document: Document, path: bytes) -> None:
    """Remove a member or an element, with a comma. An object or array that is empty then has no blanks in it either."""
    components = _parse_not_empty(path)
    document.check()
    place = document.find(components)
    end, following = document.read(place)
    if document.data[place.before] == COMMA:
        document.splice(place.before, end, b"")
    elif document.data[following] == COMMA:
        document.splice(place.begin, document.skip_blanks(following + 1), b"")
    else:
        document.splice(place.before + 1, following, b"")


def push_last(document: Document, path: bytes, value: bytes, create: bool) -> None:
    """Put one or several values at the end of an array; with `create`, a missing array is created."""
    components = parse_path(path)
    new = _given(document, value, len(components) + 1, several=True)
    document.check()
    place = _find_array(document, components, new, create)
    if place is not None:
        _append(document, place, new)


def push_first(document: Document, path: bytes, value: bytes, create: bool) -> None:
    """Put one or several values at the start of an array; with `create`, a missing array is created."""
    components = parse_path(path)
    new = _given(document, value, len(components) + 1, several=True)
    document.check()
    place = _find_array(document, components, new, create)
    if place is not None:
        _put_in_front(document, document.skip_blanks(place.value + 1), new)


def insert(document: Document, path: bytes, value: bytes) -> None:
    """Put one or several values before an element, or at the end, if the index is the length of the array."""
    components = _parse_not_empty(path)
    index = components[-1]
    if isinstance(index, str) or index < 0:
        raise PathError(PathProblem.INVALID)
    new = _given(document, value, len(components), several=True)
    document.check()
    place, missing = document.walk(components)
    if not missing:
        _put_in_front(document, place.begin, new)
    elif len(missing) > 1 or index != document.count(place):
        raise PathError(PathProblem.NOT_FOUND)
    else:
        _append(document, place, new)


def add_unique(document: Document, path: bytes, value: bytes, create: bool) -> None:
    """Put a string, a number, a boolean or null at the end of an array: EXISTS if the array has it already.

    MISMATCH if the array has arrays or objects in it. 1 and 1.0 are different values, 1.0 and 1e0 are not.
    """
    components = parse_path(path)
    new = _given(document, value, len(components) + 1)
    if new[0] in b"[{":
        raise PathError(PathProblem.CANT_INSERT)
    document.check()
    place = _find_array(document, components, new, create)
    if place is None:
        return
    if _has_scalar(document, place, new):
        raise PathError(PathProblem.EXISTS)
    _append(document, place, new)


def counter(document: Document, path: bytes, delta: bytes, create: bool) -> int:
    """Add to an integer. A missing member is created with the delta as its value, and with `create` the objects around it as well.

    Returns:
        The new number.
    """
    components = _parse_not_empty(path)
    number = _given_delta(delta)
    document.check()
    place, missing = document.walk(components)
    if missing:
        _make(document, place, missing, b"%d" % number, parents=create)
        return number
    end = document.read(place)[0]
    stored = bytes(document.data[place.value : end]) if end - place.value <= _MAX_DIGITS else b""
    if not _INTEGER.fullmatch(stored):
        integer = not stored and _INTEGER.fullmatch(document.data, place.value, end)
        raise PathError(PathProblem.NUMBER_RANGE if integer else PathProblem.MISMATCH)
    if int(stored) not in _INT64 or int(stored) + number not in _INT64:
        raise PathError(PathProblem.NUMBER_RANGE)
    number += int(stored)
    document.splice(place.value, end, b"%d" % number)
    return number


# Comparing scalars

# Integers become bytes, which tells them from all other values, and takes any number of digits.
_COMPARING: Final = json.JSONDecoder(parse_int=str.encode)


def _has_scalar(document: Document, array: Place, wanted: bytes) -> bool:
    """Return whether an array has a scalar. MISMATCH if it has arrays or objects in it."""
    value = _value_of(wanted)
    position, around, found = array.value + 1, array.around + 1, False
    more = not document.is_empty(array)
    while more:
        match = GRAMMAR.flat_elements.match(document.data, position, position + document.piece)
        assert match is not None
        end = match.end()
        if end == position:  # the last one, which is not followed by a bracket in this piece, one that is long, or a container
            begin = document.skip_blanks(position)
            if document.at(begin) in b"[{":
                raise PathError(PathProblem.MISMATCH)
            end = document.skip_item(position, around, in_object=False) + 1
        else:
            document.spend(end - position)
        if not found:
            piece = bytes(document.data[position : end - 1]).decode()
            found = any(type(element) is type(value) and element == value for element in _matching(piece, wanted, value))
        more = document.data[end - 1] == COMMA
        position = end
    return found


def _value_of(text: bytes) -> Any:
    value = _COMPARING.decode(text.decode())
    return b"0" if value == b"-0" else value


def _matching(piece: str, wanted: bytes, value: Any) -> list[Any]:
    """Return the elements of a piece, or nothing if they can't include a value."""
    may_be = wanted.decode() in piece
    if isinstance(value, str):
        may_be = may_be or "\\" in piece or "\\" in wanted.decode()
    elif isinstance(value, float):
        may_be = may_be or any(sign in piece for sign in ".eE")
    elif value == b"0":
        may_be = "0" in piece
    if not may_be:
        return []
    elements: list[Any] = _COMPARING.decode(f"[{piece}]")
    return [b"0" if element == b"-0" else element for element in elements]
