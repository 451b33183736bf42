"""Looking into a document, and changing parts of it: the steps that such an operation consists of."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Union

from ._json_paths import PathProblem


class StepKind(Enum):
    """What a step does, at its path."""

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


class Step(NamedTuple):
    """One step.

    Attributes:
        kind: What to do.
        path: Where.
        value: With what: JSON, or any bytes for SET_DOCUMENT.
        create: Whether to make the parents of the path that are missing.
        xattr: Whether the path leads into the extended attributes: its first component is the attribute's name.
        macros: Whether a value that is the name of a macro stands for what that gives.
    """

    kind: StepKind
    path: bytes = b""
    value: bytes = b""
    create: bool = False
    xattr: bool = False
    macros: bool = False


class XattrProblem(Enum):
    """What is wrong with a step on extended attributes."""

    UNKNOWN_VIRTUAL = "there is no such virtual attribute"
    READ_ONLY = "a virtual attribute can't be changed"
    UNKNOWN_MACRO = "there is no such macro"
    KEY = "the name of an attribute has 1 to 16 bytes, and does not begin with punctuation"


StepProblem = Union[PathProblem, XattrProblem]


class StepResult(NamedTuple):
    """What came of a step: a problem, or a value, which is empty where there is none to return."""

    problem: StepProblem | None = None
    value: bytes = b""
