r"""Reading JSON documents by path, as Couchbase's sub-document API does. Pure functions; those on long documents take long.

A path consists of keys and indices: ``a.b[0].`c.d`[-1]``. A key with dots or brackets in it stands between backticks, where a
doubled backtick is one backtick. A key is written as in JSON: quotes and backslashes have a backslash before them, and line feeds
and the like are escapes; but there is no ``\u``. ``[-1]`` is the last element. The empty path is the whole document.

Documents stay text: an edit must leave everything outside of the edited place as it was, byte for byte, down to how numbers are
written. The rest of a document, after the value that a path leads to, is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from ._json_document import Component, Document
from ._json_problems import PathError, PathProblem
from ._json_text import COMMA, Rest

# The maximum of a path in bytes, and in components, as in Couchbase.
_MAX_PATH: Final = 1024
_MAX_COMPONENTS: Final = 32

_COMPONENT: Final = re.compile(
    r"\[(?P<index>-1|[0-9]+)\]"
    r"|(?:\A|(?!\A)\.)(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[^`.\[\]](?:[^`.\[\]]|``)*))"
)
_KEY: Final = re.compile(r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])+')
_STRINGS: Final = json.JSONDecoder()


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
        components.append(int(index) if index else _parse_key(quoted or plain))
        if len(components) > _MAX_COMPONENTS:
            raise PathError(PathProblem.TOO_BIG)
    return components


def _parse_key(written: str) -> str:
    written = written.replace("``", "`")
    if not _KEY.fullmatch(written):
        raise PathError(PathProblem.INVALID)
    return written if "\\" not in written else str(_STRINGS.decode(f'"{written}"'))


def is_json(data: bytes, rest: Rest | None = None) -> bool:
    """Return whether bytes are a document that can be edited: JSON that is not nested too deep."""
    try:
        Document(data, rest).check()
    except PathError:
        return False
    return True


def get(document: Document, path: bytes) -> bytes:
    """Return the text of a value; for the empty path, the document as it is."""
    components = parse_path(path)
    if not components:
        document.check()
        return document.content
    return document.text(document.find(components))


def exists(document: Document, path: bytes) -> None:
    """Raise PathError if the path leads to no value."""
    document.read(document.find(parse_path(path)))


def count(document: Document, path: bytes) -> bytes:
    """Return the number of elements of an array, or of members of an object, in decimal; MISMATCH for other values."""
    place = document.find(parse_path(path))
    document.read(place)
    if not (document.is_array(place) or document.is_object(place)):
        raise PathError(PathProblem.MISMATCH)
    return b"%d" % document.count(place)


def members(data: bytes, rest: Rest | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of each member of an object, as they are written: the key without its quotes."""
    document = Document(data, rest)
    place = document.find(())
    if not document.is_object(place):
        raise PathError(PathProblem.MISMATCH)
    position = place.value + 1
    more = not document.is_empty(place)
    while more:
        begin = document.skip_blanks(position)
        key_end, value = document.skip_key(begin)
        end = document.skip_value(value, 1)
        yield data[begin + 1 : key_end - 1], data[value:end]
        following = document.skip_blanks(end)
        more = document.at(following) == COMMA
        position = following + 1
