"""Editing JSON documents by path, in their text: everything outside of the edited place stays as it was, byte for byte.

Pure functions that block for long documents. Each checks its path, then its value, and then the whole document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from ._json_paths import (
    BLANKS,
    DECODER,
    Component,
    PathError,
    PathProblem,
    Place,
    check,
    find,
    parse_path,
    read,
    refuse_constant,
    scan,
    skip_blanks,
    walk,
)

_INT64: Final = range(-(1 << 63), 1 << 63)
_MAX_DIGITS: Final = 20  # of a signed number of 64 bits, with its sign

_INTEGER: Final = re.compile(r"-?[0-9]+")
_DELTA: Final = re.compile(rb"[+-]?[0-9]{1,19}")

# `Decimal` takes any number of digits, and tells integers from other numbers, which become floats.
_COMPARING_DECODER: Final = json.JSONDecoder(parse_int=Decimal, parse_constant=refuse_constant)


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


def _given(value: bytes, *, several: bool = False) -> str:
    """Return the text of a value, or of several values with commas between them, without the blanks around."""
    try:
        text = value.decode().strip(BLANKS)
        document = f"[{text}]" if several else text
        if text and DECODER.raw_decode(document)[1] == len(document):
            return text
    except (ValueError, RecursionError):
        pass
    raise PathError(PathProblem.CANT_INSERT)


def _given_delta(delta: bytes) -> int:
    number = int(delta) if _DELTA.fullmatch(delta) else 0
    if number == 0 or number not in _INT64:
        raise PathError(PathProblem.DELTA)
    return number


# Changing the text


def _splice(text: str, begin: int, end: int, new: str) -> bytes:
    return f"{text[:begin]}{new}{text[end:]}".encode()


def _append(text: str, opening: int, new: str) -> bytes:
    """Put members or elements after all others, and before the blanks there."""
    inside = text[opening : scan(text, opening)[1] - 1].rstrip(BLANKS)
    position = opening + len(inside)
    return _splice(text, position, position, f",{new}" if len(inside) > 1 else new)


def _put_in_front(text: str, begin: int, new: str) -> bytes:
    """Put elements in front of the one that begins at a position, or of the bracket there."""
    return _splice(text, begin, begin, new if text[begin] == "]" else f"{new},")


def _make(text: str, place: Place, missing: Sequence[Component], value: str, *, parents: bool) -> bytes:
    """Create a missing member, and with `parents` the objects around it."""
    if len(missing) > 1 and not parents:
        raise PathError(PathProblem.NOT_FOUND)
    keys = [json.dumps(key, ensure_ascii=False) for key in missing if isinstance(key, str)]
    if len(keys) < len(missing):
        raise PathError(PathProblem.NOT_FOUND)
    for key in reversed(keys[1:]):
        value = f"{{{key}:{value}}}"
    return _append(text, place.value, f"{keys[0]}:{value}")


def _find_array(text: str, components: Sequence[Component], value: str, create: bool) -> tuple[Place, bytes | None]:
    """Return the place of an array, or the document with a new array that holds a value."""
    place, missing = walk(text, components)
    if missing:
        if not create:
            raise PathError(PathProblem.NOT_FOUND)
        return place, _make(text, place, missing, f"[{value}]", parents=True)
    if not text.startswith("[", place.value):
        raise PathError(PathProblem.MISMATCH)
    return place, None


# The edits


def add(document: bytes, path: bytes, value: bytes, create: bool) -> bytes:
    """Add a member to an object: EXISTS if it is there, NOT_FOUND if the object is missing and `create` is not set."""
    components, new, text = _parse_to_key(path), _given(value), check(document)
    place, missing = walk(text, components)
    if not missing:
        raise PathError(PathProblem.EXISTS)
    return _make(text, place, missing, new, parents=create)


def upsert(document: bytes, path: bytes, value: bytes, create: bool) -> bytes:
    """Add a member to an object, or replace its value: NOT_FOUND if the object is missing and `create` is not set."""
    components, new, text = _parse_to_key(path), _given(value), check(document)
    place, missing = walk(text, components)
    if missing:
        return _make(text, place, missing, new, parents=create)
    return _splice(text, place.value, read(text, place).end, new)


def replace(document: bytes, path: bytes, value: bytes) -> bytes:
    """Replace the value of a member or an element that exists."""
    components, new, text = _parse_not_empty(path), _given(value), check(document)
    place = find(text, components)
    return _splice(text, place.value, read(text, place).end, new)


def remove(document: bytes, path: bytes) -> bytes:
    """Remove a member or an element, with a comma. An object or array that is empty then has no blanks in it either."""
    components, text = _parse_not_empty(path), check(document)
    place = find(text, components)
    _, end, following = read(text, place)
    if text[place.before] == ",":
        return _splice(text, place.before, end, "")
    if text[following] == ",":
        return _splice(text, place.begin, skip_blanks(text, following + 1), "")
    return _splice(text, place.before + 1, following, "")


def push_last(document: bytes, path: bytes, value: bytes, create: bool) -> bytes:
    """Put one or several values at the end of an array; with `create`, a missing array is created."""
    components, new, text = parse_path(path), _given(value, several=True), check(document)
    place, made = _find_array(text, components, new, create)
    return _append(text, place.value, new) if made is None else made


def push_first(document: bytes, path: bytes, value: bytes, create: bool) -> bytes:
    """Put one or several values at the start of an array; with `create`, a missing array is created."""
    components, new, text = parse_path(path), _given(value, several=True), check(document)
    place, made = _find_array(text, components, new, create)
    return _put_in_front(text, skip_blanks(text, place.value + 1), new) if made is None else made


def insert(document: bytes, path: bytes, value: bytes) -> bytes:
    """Put one or several values before an element, or at the end, if the index is the length of the array."""
    components = _parse_not_empty(path)
    index = components[-1]
    if isinstance(index, str) or index < 0:
        raise PathError(PathProblem.INVALID)
    new, text = _given(value, several=True), check(document)
    place, missing = walk(text, components)
    if not missing:
        return _put_in_front(text, place.begin, new)
    if len(missing) > 1 or index != len(scan(text, place.value)[0]):
        raise PathError(PathProblem.NOT_FOUND)
    return _append(text, place.value, new)


def add_unique(document: bytes, path: bytes, value: bytes, create: bool) -> bytes:
    """Put a string, a number, a boolean or null at the end of an array: EXISTS if the array has it already.

    MISMATCH if the array has arrays or objects in it. 1 and 1.0 are different values, 1.0 and 1e0 are not.
    """
    components, new = parse_path(path), _given(value)
    if new[0] in "[{":
        raise PathError(PathProblem.CANT_INSERT)
    text = check(document)
    place, made = _find_array(text, components, new, create)
    if made is not None:
        return made
    wanted = _COMPARING_DECODER.decode(new)
    elements = _COMPARING_DECODER.raw_decode(text, place.value)[0]
    if any(isinstance(element, (list, dict)) for element in elements):
        raise PathError(PathProblem.MISMATCH)
    if any(type(element) is type(wanted) and element == wanted for element in elements):
        raise PathError(PathProblem.EXISTS)
    return _append(text, place.value, new)


def counter(document: bytes, path: bytes, delta: bytes, create: bool) -> tuple[bytes, int]:
    """Add to an integer. A missing member is created with the delta as its value, and with `create` the objects around it as well.

    Returns:
        The document, and the new number.
    """
    components, number, text = _parse_not_empty(path), _given_delta(delta), check(document)
    place, missing = walk(text, components)
    if missing:
        return _make(text, place, missing, str(number), parents=create), number
    end = read(text, place).end
    stored = text[place.value : end]
    if not _INTEGER.fullmatch(stored):
        raise PathError(PathProblem.MISMATCH)
    if len(stored) > _MAX_DIGITS or int(stored) not in _INT64 or int(stored) + number not in _INT64:
        raise PathError(PathProblem.NUMBER_RANGE)
    number += int(stored)
    return _splice(text, place.value, end, str(number)), number
