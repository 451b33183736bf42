"""What commands need to run something in a worker thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from ...engine import Operation, Outcome

T = TypeVar("T")


class InWorker(Protocol):
    """Runs a function in a worker thread, and returns what it returns. It is waited for, also if the caller is cancelled."""

    def __call__(self, function: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> Awaitable[T]:
        """Run the function, under the limiter of streamed answers unless there is another one."""


# Hands operations to the writer thread of a bucket, and waits for their outcomes: `Bucket.operate`, or what counts that.
Operate = Callable[[list[Operation]], Awaitable[list[Outcome]]]
