"""Lookups in an item, and edits of it: its document, and its extended attributes. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import google_crc32c

from . import _json_edits as edits
from . import _json_paths as paths
from ._json_document import Document
from ._json_problems import PathError, PathProblem
from ._json_text import Rest
from ._operations import Edit, Item, Outcome, Problem, Virtual
from ._steps import Step, StepKind, StepProblem, StepResult, XattrProblem
from ._tombstones import Tombstone

# The maximum bytes of the extended attributes of an item, unless they and the value together are within the limit of a value.
# Couchbase has such a limit for what belongs to a system, in attributes whose names begin with _. Everything else, such as the
# document that a transaction has staged, counts like the value.
MAX_XATTRS: Final = 1024 * 1024
# The maximum bytes of the name of an extended attribute, as in Couchbase.
_MAX_NAME: Final = 15
# As in Couchbase: a name ends at the first dot or bracket, since it can't be quoted. It must not begin with a control character or
# with punctuation, other than _ and $, which must not stand alone.
_NAME: Final = re.compile(rb"(?:[_$][^.\[]|[^\x00-\x1f!-/:-@\[-`{-\x7f])[^.\[]*")
_VIRTUAL: Final = b"$"
# The number of look-ups for which a document is checked at once. Picked: checking takes as long as one or two of them.
_MANY_STEPS: Final = 4
_MACRO_START: Final = b'"${'
_MACRO_END: Final = b'}"'
_DOCUMENT: Final = b"$document"


class Version(NamedTuple):
    """The CAS and the sequence number that a change gives an item."""

    cas: int = 0
    seqno: int = 0

    @property
    def cas_text(self) -> bytes:
        """The CAS as JSON: the hexadecimal of its bytes, the lowest first, as Couchbase writes it."""
        return b'"0x%s"' % self.cas.to_bytes(8, "little").hex().encode()

    @property
    def seqno_text(self) -> bytes:
        """The sequence number as JSON."""
        return b'"0x%016x"' % self.seqno


class _StepError(Exception):
    def __init__(self, problem: StepProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class Removed:
    """The result of an edit that removes the whole item."""


REMOVED: Final = Removed()


def _name_of(path: bytes) -> bytes:
    """Return the name of the attribute at the beginning of a path."""
    match = _NAME.match(path)
    if match is None or len(match[0]) > _MAX_NAME:
        raise _StepError(XattrProblem.KEY)
    return match[0]


# Lookups


def lookup(item: Item, steps: Sequence[Step], virtual: Virtual, rest: Rest | None = None) -> tuple[StepResult, ...]:
    """Carry out steps that only read. A step that fails does not stop the others.

    Args:
        item: The item.
        steps: Steps of the kinds GET, EXISTS, COUNT and GET_DOCUMENT.
        virtual: The virtual attributes, which are not stored.
        rest: Called again and again while a large item is read. What it raises ends the lookup.

    Returns:
        The result of each step.
    """
    looking = _Lookup(item, virtual, rest)
    if len(steps) >= _MANY_STEPS:
        looking.check()
    return tuple(looking.carry_out(step) for step in steps)


class _Lookup:
    """An item that is looked into."""

    def __init__(self, item: Item, virtual: Virtual, rest: Rest | None) -> None:
        self._item = item
        self._virtual = virtual
        self._rest = rest
        self._document = Document(item.value, rest)
        self._xattrs = Document(item.xattrs or b"{}", rest)

    def check(self) -> None:
        """Read the document once, so that each step need not begin at its start. It may be wrong behind what the steps look for."""
        with suppress(PathError):
            self._document.check()

    def carry_out(self, step: Step) -> StepResult:
        try:
            if step.kind is StepKind.GET_DOCUMENT:
                if isinstance(self._item, Tombstone):
                    return StepResult(PathProblem.NOT_FOUND)
                return StepResult(value=self._item.value)
            document = self._attributes(step.path) if step.xattr else self._document
            if step.kind is StepKind.GET:
                return StepResult(value=paths.get(document, step.path))
            if step.kind is StepKind.COUNT:
                return StepResult(value=paths.count(document, step.path))
            paths.exists(document, step.path)
            return StepResult()
        except (PathError, _StepError) as exc:
            return StepResult(exc.problem)

    def _attributes(self, path: bytes) -> Document:
        """Return the JSON object in which to look for an attribute."""
        name = _name_of(path)
        if not name.startswith(_VIRTUAL):
            return self._xattrs
        make = self._virtual.get(name)
        if make is None:
            raise _StepError(XattrProblem.UNKNOWN_VIRTUAL)
        return Document(b'{"%s":%s}' % (name, make()), self._rest)


# Edits


def edit(
    operation: Edit, current: Item | None, version: Version, rest: Rest | None = None
) -> tuple[Outcome, Item | Removed | None]:
    """Decide what an edit does to the item it finds.

    Args:
        operation: The edit.
        current: The item; None if it does not exist.
        version: The CAS and the sequence number that a change will get.
        rest: Called again and again while a large item is edited. What it raises ends the edit.

    Returns:
        The outcome, and the item to store, or `REMOVED`, or None if nothing changes.
    """
    if current is None and not (operation.create or operation.add):
        return Outcome(Problem.NOT_FOUND), None
    if current is not None and operation.add:
        return Outcome(Problem.EXISTS), None
    if operation.revive and current is not None and not isinstance(current, Tombstone):
        return Outcome(Problem.ALIVE), None
    if operation.size(current) > operation.inline:
        return Outcome(Problem.UNPLANNED), None
    state = _State(current, operation, version, rest)
    results = state.carry_out_all()
    if state.summed is not None and state.summed != state.value:
        # Steps after the one with the checksum changed the value. They do not depend on attributes, so the value is final now.
        state = _State(current, operation, version, rest, summed=state.value)
        results = state.carry_out_all()
    outcome = Outcome(results=results)
    if results and results[-1].problem is not None:
        return outcome._replace(problem=Problem.PATH), None
    if state.removed:
        if isinstance(current, Tombstone):
            return Outcome(Problem.NOT_FOUND), None
        return (outcome, REMOVED) if current is not None else (outcome, None)
    item = state.item()
    if item.value and isinstance(item, Tombstone):
        return Outcome(Problem.HAS_VALUE), None
    size = len(item.value)
    if size > operation.max_size or MAX_XATTRS < len(item.xattrs) > operation.max_size - size:
        return Outcome(Problem.TOO_BIG), None
    return outcome, item


class _State:
    """An item that is being edited.

    Attributes:
        removed: Whether the item is to be removed.
        summed: The value whose checksum was put in the attributes; None if none was.
    """

    def __init__(
        self, current: Item | None, operation: Edit, version: Version, rest: Rest | None, summed: bytes | None = None
    ) -> None:
        made = Tombstone(b"") if operation.as_tombstone else Item(_new_document(operation.steps), expiry=operation.new_expiry)
        self._found = current
        self._current = current if current is not None else made
        self._operation = operation
        self._version = version
        self._rest = rest
        self._document = Document(self._current.value, rest)
        self._datatype = self._current.datatype if current is not None or operation.as_tombstone else operation.datatype
        self._xattrs = Document(self._current.xattrs or b"{}", rest)
        self.removed = False
        self.summed = summed

    @property
    def value(self) -> bytes:
        """The value of the item, so far."""
        return self._document.content

    def item(self) -> Item:
        expiry = self._operation.expiry
        xattrs = self._xattrs.content
        item = self._current._replace(
            value=self.value,
            datatype=self._datatype,
            expiry=self._current.expiry if expiry is None else expiry,
            xattrs=b"" if xattrs.strip() in (b"{}", b"{ }") else xattrs,
        )
        return Item(*item._replace(expiry=self._operation.new_expiry)) if self._operation.revive else item

    def carry_out_all(self) -> tuple[StepResult, ...]:
        """Carry out the steps until one fails."""
        results: list[StepResult] = []
        for step in self._operation.steps:
            try:
                results.append(StepResult(value=self._carry_out(step)))
            except (PathError, _StepError) as exc:
                results.append(StepResult(exc.problem))
                break
        return tuple(results)

    def _carry_out(self, step: Step) -> bytes:
        if step.kind is StepKind.SET_DOCUMENT:
            self._document = Document(step.value, self._rest)
            self._datatype = self._operation.datatype if paths.is_json(step.value, self._rest) else 0
            return b""
        if step.kind is StepKind.REMOVE_DOCUMENT:
            self.removed = True
            return b""
        if step.xattr:
            if _name_of(step.path).startswith(_VIRTUAL):
                raise _StepError(XattrProblem.READ_ONLY)
            if step.kind is StepKind.DOCUMENT_FROM_XATTR:
                self._document = Document(paths.get(self._xattrs, step.path), self._rest)
                self._datatype = self._operation.datatype
                return b""
            return _change(self._xattrs, step, self._expanded(step))
        result = _change(self._document, step, step.value)
        self._datatype = self._operation.datatype
        return result

    def _expanded(self, step: Step) -> bytes:
        value = step.value
        if not step.macros or not value.startswith(_MACRO_START):
            return value
        if value == b'"${Mutation.CAS}"':
            return self._version.cas_text
        if value == b'"${Mutation.seqno}"':
            return self._version.seqno_text
        if value == b'"${Mutation.value_crc32c}"':
            if self.summed is None:
                self.summed = self.value
            return b'"0x%08x"' % google_crc32c.value(self.summed)
        return self._virtual_value(value[len(_MACRO_START) : -len(_MACRO_END)] if value.endswith(_MACRO_END) else b"")

    def _virtual_value(self, path: bytes) -> bytes:
        """Return what a part of ``$document`` was before the edit."""
        virtual = self._operation.virtual
        if virtual is not None and (path == _DOCUMENT or path.startswith(_DOCUMENT + b".")):
            made = virtual(self._found if self._found is not None else Item(b""))[_DOCUMENT]()
            try:
                return paths.get(Document(b'{"%s":%s}' % (_DOCUMENT, made)), path)
            except PathError:
                pass
        raise _StepError(XattrProblem.UNKNOWN_MACRO)


def _new_document(steps: Sequence[Step]) -> bytes:
    """Return what a missing document begins as: an array if the first step on it appends to it, else an object."""
    for step in steps:
        if not step.xattr:
            array = step.kind in (StepKind.PUSH_LAST, StepKind.PUSH_FIRST, StepKind.ADD_UNIQUE) and not step.path
            return b"[]" if array else b"{}"
    return b"{}"


def _change(document: Document, step: Step, value: bytes) -> bytes:
    """Change a document as a step says, and return the value of the step's result."""
    path, create = step.path, step.create
    match step.kind:
        case StepKind.ADD:
            edits.add(document, path, value, create)
        case StepKind.UPSERT:
            edits.upsert(document, path, value, create)
        case StepKind.REPLACE:
            edits.replace(document, path, value)
        case StepKind.REMOVE:
            edits.remove(document, path)
        case StepKind.PUSH_LAST:
            edits.push_last(document, path, value, create)
        case StepKind.PUSH_FIRST:
            edits.push_first(document, path, value, create)
        case StepKind.INSERT:
            edits.insert(document, path, value)
        case StepKind.ADD_UNIQUE:
            edits.add_unique(document, path, value, create)
        case StepKind.COUNTER:
            return b"%d" % edits.counter(document, path, value, create)
        case _:
            raise _StepError(PathProblem.INVALID)
    return b""
