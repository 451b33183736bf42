"""Objects of which each Trio run has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class PerRun(Generic[T]):
    """Returns the object of this Trio run when it is called, and makes it at the first call.

    Args:
        name: A name for it, which is seen in debuggers only.
        make: Makes the object.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._variable: trio.lowlevel.RunVar[T] = trio.lowlevel.RunVar(name)
        self._make = make

    def __call__(self) -> T:
        """Return the object of this Trio run."""
        try:
            return self._variable.get()
        except LookupError:
            made = self._make()
            self._variable.set(made)
            return made
