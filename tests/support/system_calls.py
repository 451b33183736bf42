"""What a block asks of the operating system, in order: the interpreter itself tells, so nothing is patched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

WATCHED = {os.fsync, os.replace, os.open, os.unlink, os.mkdir, os.sync, os.rename}


@contextmanager
def system_calls() -> Iterator[list[str]]:
    """Collect the names of functions of `os` that this thread calls within, in order."""
    called: list[str] = []

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function in WATCHED:
            called.append(function.__name__)

    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(None)
