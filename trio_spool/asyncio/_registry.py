"""What there is one of for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class OnePerLoop(Generic[T]):
    """Returns the object of the running loop, which is made when it is first asked for.

    It is an attribute of the loop, so that it goes with the loop: a table of ours would keep loops that were closed, and with them
    the producers of tasks that were never ended.

    Args:
        name: Of the attribute.
        make: Makes an object, while its loop runs.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._name = f"_trio_spool_{name}"
        self._make = make

    def __call__(self) -> T:
        loop = asyncio.get_running_loop()
        made = getattr(loop, self._name, None)
        if made is None:
            made = self._make()
            setattr(loop, self._name, made)
        return cast("T", made)
