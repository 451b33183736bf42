"""Why a document can't be read or edited at a path."""

from __future__ import annotations

from enum import Enum

from ._errors import EngineError


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
    VALUE_TOO_DEEP = "with this value, the document would be nested too deep"


class PathError(EngineError):
    """A document can't be read or edited."""

    def __init__(self, problem: PathProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def not_json() -> PathError:
    """Return the error for text that is no JSON."""
    return PathError(PathProblem.NOT_JSON)
