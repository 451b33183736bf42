"""How storage's problems are reported."""

from __future__ import annotations

from ...engine import Problem
from ...mcbp import Status

STATUS_OF: dict[Problem, Status] = {
    Problem.NOT_FOUND: Status.NOT_FOUND,
    Problem.EXISTS: Status.EXISTS,
    Problem.NOT_STORED: Status.NOT_STORED,
    Problem.NOT_A_NUMBER: Status.NOT_A_NUMBER,
    Problem.TOO_BIG: Status.TOO_BIG,
    Problem.LOCKED: Status.LOCKED,
    Problem.NOT_LOCKED: Status.NOT_LOCKED,
    Problem.NO_SPACE: Status.TEMPORARY_FAILURE,
    Problem.FAILED: Status.INTERNAL,
}
