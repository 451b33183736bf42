"""The steps of an operation that looks into a document, or changes parts of it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Union

from ._json_problems import PathProblem


class StepKind(Enum):
    """The action of a step, at its path."""

    GET = "get"
    EXISTS = "exists"
    COUNT = "count"
    ADD = "add"
    UPSERT = "upsert"
    REPLACE = "replace"
    REMOVE = "remove"
    PUSH_LAST = "push last"
    PUSH_FIRST = "push first"
    INSERT = "insert"
    ADD_UNIQUE = "add unique"
    COUNTER = "counter"
    GET_DOCUMENT = "get document"
    SET_DOCUMENT = "set document"
    REMOVE_DOCUMENT = "remove document"
    DOCUMENT_FROM_XATTR = "replace document by the value of an attribute"


class Step(NamedTuple):
    """One step.

    Attributes:
        kind: The action.
        path: Where in the document.
        value: JSON, or any bytes for SET_DOCUMENT.
        create: Whether to create missing parents of the path.
        xattr: Whether the path leads into the extended attributes. Its first component is then the name of the attribute.
        macros: Whether to replace a value that is the name of a macro by the macro's result.
    """

    kind: StepKind
    path: bytes = b""
    value: bytes = b""
    create: bool = False
    xattr: bool = False
    macros: bool = False


class XattrProblem(Enum):
    """Why a step on extended attributes failed."""

    UNKNOWN_VIRTUAL = "no virtual attribute has this name"
    READ_ONLY = "a virtual attribute can't be changed"
    UNKNOWN_MACRO = "no macro has this name"
    KEY = "the name of an attribute has 1 to 15 bytes, and does not begin with punctuation"


StepProblem = Union[PathProblem, XattrProblem]


class StepResult(NamedTuple):
    """The result of a step: a problem, or a value, which is empty for actions that return none."""

    problem: StepProblem | None = None
    value: bytes = b""
