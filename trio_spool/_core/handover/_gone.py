"""What a write does when nobody will read what is written."""

from __future__ import annotations

import sys
from types import FrameType

from .._errors import SpoolBrokenError, SpoolExit

# How often a function is told that its reader is gone before it is ended. Picked, not measured: closing an archive writes a few
# times, and code that skips the files it can't read should not go through thousands of them.
PATIENT = 100


class Gone:
    """Raises what a producer function gets for its writes once its reader is gone."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told = 0

    def refuse_in_thread(self) -> None:
        """Raise `SpoolBrokenError`, or `SpoolExit` if that was raised often enough; do nothing in a finalizer.

        Python would print what that raises, for each `zipfile.ZipFile` that a function leaves behind when it is stopped.
        """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if _finalizes(frame):
                return
            frame = frame.f_back
        self._told += 1
        if self._told > PATIENT:
            raise SpoolExit(f"the reader of this spool is gone, and the producer goes on writing after {PATIENT} errors")
        raise SpoolBrokenError("the reader of this spool is gone")


def _finalizes(frame: FrameType) -> bool:
    """Return whether a method is a ``__del__``, or the `close` that Python calls when a file goes: it marks the file before."""
    name = frame.f_code.co_name
    return name == "__del__" or (name == "close" and getattr(frame.f_locals.get("self"), "_finalizing", False) is True)
