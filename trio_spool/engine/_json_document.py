"""A JSON document that is looked into, and changed in its text: what is outside of the changed place stays as it was.

A document that is to be changed is checked as a whole, once. That leaves checkpoints, one in each piece, so that what follows need
not begin at the start again. Changes move the checkpoints behind them.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple, Union

from ._json_checkpoints import Checkpoints
from ._json_grammar import GRAMMAR, MAX_NESTING, PIECE, members_without, spelled_key
from ._json_problems import PathError, PathProblem, not_json
from ._json_text import COMMA, Cursor, Rest, Text

# A string is a key, and a number is an index.
Component = Union[str, int]

_DECODER: Final = json.JSONDecoder()
# The most bytes that JSON needs for a byte of UTF-8: six, for one that is written as an escape.
_LONGEST_ESCAPE: Final = 6
# Of so many elements that were counted, one is remembered. Picked, not measured.
_MARKED: Final = 1024
# How often a key may be found within values before a pattern is made that passes them. Making it takes as long as some hundred.
_MANY: Final = 200


class Place(NamedTuple):
    """The place of a value, as positions in the text.

    Attributes:
        before: The position of the bracket or the comma before it; -1 for the whole document.
        begin: Where its member begins, at the key; for an element, where the value begins.
        value: Where the value begins.
        around: The number of containers around it.
        closing: The bracket that closes the innermost of them; 0 for none.
    """

    before: int
    begin: int
    value: int
    around: int
    closing: int


class Document(Text):
    """A document. Of members with the same key, the first one counts.

    As long as it is not checked, only what is on the way to a value is read.

    Args:
        data: The text.
        rest: See `Text`.
        piece: See `Text`.
    """

    def __init__(self, data: bytes, rest: Rest | None = None, piece: int = PIECE) -> None:
        super().__init__(data, rest, piece)
        self._checked = False
        self._encoded = False
        self._recording = False
        self._checkpoints = Checkpoints()
        self._ends: dict[int, int] = {}  # of large containers, by their openings, as far as they are known
        self._marks: dict[int, list[tuple[int, int]]] = {}  # indices and positions of elements, by where their array begins
        self._least = MAX_NESTING  # containers that were open since the last checkpoint
        self._next = 0  # where the next checkpoint may be
        self._escaped_keys: bool | None = None  # whether there may be any; None if nobody knows yet

    @property
    def content(self) -> bytes:
        """The text."""
        return bytes(self.data)

    # Checking

    def check(self, around: int = 0) -> None:
        """Read all of it, as if it were inside so many containers. Raise NOT_JSON or TOO_DEEP if it can't be edited."""
        if self._checked:
            return
        root = self._root()._replace(around=around)
        self._recording = len(self.data) > self.piece
        self._next = self.piece
        try:
            self.read(root)
        finally:
            self._recording = False
        self._checked = True

    def _passed(self, cursor: Cursor, size: int) -> None:
        super()._passed(cursor, size)
        if self._recording:
            opened = len(cursor.opened)
            if opened < self._least:
                self._least = opened
            if cursor.position >= self._next and not cursor.after_value and self.data[cursor.position - 1] == COMMA:
                self._checkpoints.add(cursor.position, bytes(cursor.opened), self._least)
                self._least = opened
                self._next = cursor.position + self.piece

    def skip_value(self, position: int, around: int) -> int:
        if self._checked and (end := self._ends.get(position)):
            return end
        return super().skip_value(position, around)

    def skip_container(self, opening: int, around: int) -> int:
        if not self._checked:
            return super().skip_container(opening, around)
        cursor = Cursor(opening, around, b"")
        self._open(cursor)
        stop = self._checkpoints.next_after(opening) if around else opening
        self.advance(cursor, around, math.inf if stop is None else stop)
        if len(cursor.opened) + cursor.around > around:
            cursor = self._checkpoints.last_before_closing(cursor.position, around) or cursor
            self.advance(cursor, around)
        if cursor.position - opening > self.piece:
            self._ends[opening] = cursor.position
        return cursor.position

    def skip_string(self, position: int) -> int:
        if self._checked:
            quote = self.data.find(b'"', position + 1)
            if self.data.find(b"\\", position, quote) < 0:
                return quote + 1
        return super().skip_string(position)

    # Places

    def _root(self) -> Place:
        if not self._encoded:
            self.check_encoding()
            self._encoded = True
        begin = self.skip_blanks(0)
        return Place(-1, begin, begin, 0, 0)

    def read(self, place: Place) -> tuple[int, int]:
        """Return the end of a value, and the position of the comma or the bracket behind it, having checked what is there."""
        end = self.skip_value(place.value, place.around)
        following = self.skip_blanks(end)
        if following == len(self.data):
            fits = place.closing == 0
        else:
            fits = place.closing != 0 and self.data[following] in (COMMA, place.closing)
        if not fits:
            raise not_json()
        return end, following

    def text(self, place: Place) -> bytes:
        """Return the text of a value."""
        return bytes(self.data[place.value : self.read(place)[0]])

    def is_array(self, place: Place) -> bool:
        """Whether a value is an array."""
        return self.at(place.value) == 0x5B

    def is_object(self, place: Place) -> bool:
        """Whether a value is an object."""
        return self.at(place.value) == 0x7B

    def is_empty(self, container: Place) -> bool:
        """Whether an object or array has no items."""
        return self.at(self.skip_blanks(container.value + 1)) == (0x5D if self.is_array(container) else 0x7D)

    def walk(self, components: Sequence[Component]) -> tuple[Place, Sequence[Component]]:
        """Follow a path as far as it exists.

        Returns:
            The value where it ends, and the components that are missing. If some are, that value is an object without the first of
            them, if that is a key, or an array without it, if it is an index.
        """
        place = self._root()
        for depth, component in enumerate(components):
            if not (self.is_object(place) if isinstance(component, str) else self.is_array(place)):
                self.read(place)
                raise PathError(PathProblem.MISMATCH)
            child = self._child(place, component)
            if child is None:
                return place, components[depth:]
            place = child
        return place, ()

    def find(self, components: Sequence[Component]) -> Place:
        """Return the place that a path leads to."""
        place, missing = self.walk(components)
        if missing:
            raise PathError(PathProblem.NOT_FOUND)
        return place

    def _child(self, parent: Place, component: Component) -> Place | None:
        if self.is_empty(parent):
            return None
        if isinstance(component, str):
            return self._member(parent, component)
        if component < 0:
            position = self.last_item(parent)
        else:
            found = self._element(parent, component)
            if found is None:
                return None
            position = found
        begin = self.skip_blanks(position)
        return Place(position - 1, begin, begin, parent.around + 1, 0x5D)

    def _element(self, array: Place, index: int) -> int | None:
        """Return where an element of an array that is not empty begins, or the blanks before it."""
        marks = self._marks.setdefault(array.value, []) if self._checked else []
        nearest = bisect_right(marks, (index, math.inf)) - 1
        at, position = marks[nearest] if nearest >= 0 else (0, array.value + 1)
        while at < index:
            count = min(_MARKED, index - at)
            position, skipped = self.skip_items(position, array.around + 1, count, in_object=False)
            at += skipped
            if skipped < count:
                return None
            if not marks or at > marks[-1][0]:
                marks.append((at, position))
        return position

    def last_item(self, container: Place) -> int:
        """Return where the last item of a container that is not empty begins, or the blanks before it."""
        position = container.value + 1
        around = container.around + 1
        if self._checked:
            end = self.skip_value(container.value, container.around)
            position = self._checkpoints.last_at_depth(position, end, around) or position
        return self.skip_to_last(position, around, in_object=self.is_object(container))

    def count(self, container: Place) -> int:
        """Return the number of items of an object or array."""
        if self.is_empty(container):
            return 0
        in_object = self.is_object(container)
        return self.skip_items(container.value + 1, container.around + 1, math.inf, in_object=in_object)[1] + 1

    # Members

    def _member(self, parent: Place, key: str) -> Place | None:
        around, position = parent.around + 1, parent.value + 1
        end = self.skip_value(parent.value, parent.around) if self._checked else len(self.data)
        occurrences = _Occurrences(self, key, end)
        while True:
            found = occurrences.first(position)
            if self._checked:
                nearer = self._approach(position, around, found, end)
                if nearer is None:
                    return None
                if nearer > position:
                    position = nearer
                    continue
            position = self._skip_members(occurrences, position, found)
            begin = self.skip_blanks(position)
            key_end, value = self.skip_key(begin)
            if occurrences.is_key(begin, key_end):
                return Place(position - 1, begin, value, around, 0x7D)
            following = self.skip_item(position, around, in_object=True)
            if self.data[following] != COMMA:
                return None
            position = following + 1

    def _skip_members(self, occurrences: _Occurrences, position: int, found: int) -> int:
        """Skip members with other keys, at least those before the next place where the key is found, unless they are large."""
        pattern, end = occurrences.pattern, len(self.data)
        if pattern is None:
            pattern, end = GRAMMAR.some_members, found
        while True:
            match = pattern.match(self.data, position, min(position + self.piece, end))
            assert match is not None
            if match.end() == position:
                return position
            self.spend(match.end() - position)
            position = match.end()

    def _approach(self, position: int, around: int, found: int, end: int) -> int | None:
        """Return the start of a member before which a key can't be; None if it can't be anywhere before `end`.

        Args:
            position: The start of a member.
            around: The number of containers around it.
            found: Where the key is found, whatever it is there: a key, or a part of a value.
            end: The end of the object.
        """
        if found >= end:
            return None
        cursor = self._checkpoints.last_inside(position, found)
        if cursor is None:
            return position
        self.advance(cursor, around)
        if cursor.after_value:
            self._end_item(cursor)
            if len(cursor.opened) < around:
                return None
        return cursor.position

    def has_escaped_keys(self) -> bool:
        """Whether a key may be written with escapes. If the document is not checked, strings count as well."""
        if self._escaped_keys is None:
            self._escaped_keys = b"\\" in self.data and (not self._checked or self._find_escaped_key())
        return self._escaped_keys

    def _find_escaped_key(self) -> bool:
        data, position = self.data, 0
        while position < len(data):
            match = GRAMMAR.no_escaped_key.match(data, position, position + self.piece)
            assert match is not None
            if match.end() > position:
                self.spend(match.end() - position)
                position = match.end()
                continue
            end = self.skip_string(position)  # a key, or cut off by the end of the piece
            after = self.skip_blanks(end)
            if data[after : after + 1] == b":" and b"\\" in data[position:end]:
                return True
            position = end
        return False

    # Changing

    def splice(self, begin: int, end: int, new: bytes) -> None:
        """Replace what is between two positions, which are between tokens of a document that is checked."""
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data[begin:end] = new
        by = len(new) - (end - begin)
        self._checkpoints.shift(begin, end, by)
        self._marks = {array: [mark for mark in marks if mark[1] <= begin] for array, marks in self._marks.items() if array < begin}
        self._ends = {
            opening + by * (opening >= end): closing + by
            for opening, closing in self._ends.items()
            if opening >= end or (opening < begin and closing > end)
        } | {opening: closing for opening, closing in self._ends.items() if closing <= begin}
        if b"\\" in new and self._escaped_keys is False:
            self._escaped_keys = Document(new, self.rest, self.piece)._find_escaped_key()


class _Occurrences:
    """Where a key is written in a document, as a key or within values.

    Args:
        document: The document.
        key: The key.
        end: Where to stop looking.

    Attributes:
        pattern: Matches members with other keys, once it has paid to make it.
    """

    def __init__(self, document: Document, key: str, end: int) -> None:
        self._document = document
        self._key = key
        self._usual = json.dumps(key, ensure_ascii=False).encode()
        self._end = end
        self._found = -1
        self._count = 0
        self.pattern: re.Pattern[bytes] | None = None

    def first(self, position: int) -> int:
        """Return the first place from a position on; the end if there is none."""
        if self._found < position:
            self._found = self._find(position)
            self._count += 1
            if self._count == _MANY:
                self.pattern = members_without(self._key)
        return self._found

    def _find(self, position: int) -> int:
        document, end = self._document, self._end
        if not document.has_escaped_keys():
            found = document.data.find(self._usual, position, end)
            return end if found < 0 else found
        pattern, piece = spelled_key(self._key), document.piece
        longest = _LONGEST_ESCAPE * len(self._usual)
        while position < end:
            match = pattern.search(document.data, position, min(position + piece + longest, end))
            if match is not None:
                return match.start()
            document.spend(piece)
            position += piece
        return end

    def is_key(self, begin: int, end: int) -> bool:
        """Whether the string between two positions is the key."""
        written = bytes(self._document.data[begin:end]) if end - begin <= _LONGEST_ESCAPE * len(self._usual) else b""
        return written == self._usual or (b"\\" in written and bool(_DECODER.decode(written.decode()) == self._key))
