"""Tracebacks of producers: whoever keeps an exception keeps all that its traceback leads to, which should be the producer alone."""

from __future__ import annotations

import contextlib
import inspect
from types import CodeType, FrameType

_SUSPENDABLE = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_ROOMS = __name__.partition(".producers.")[0]


def forget_locals(error: BaseException) -> None:
    """Clear the functions of this library in a traceback, which would keep an iterator, or a hand-over that refers to the error."""
    traceback = error.__traceback__
    while traceback is not None:
        if _is_ours(traceback.tb_frame) and not traceback.tb_frame.f_code.co_flags & _SUSPENDABLE:
            with contextlib.suppress(RuntimeError):  # it is running: the caller's, for instance
                traceback.tb_frame.clear()
        traceback = traceback.tb_next


def cut(error: BaseException, code: CodeType) -> BaseException:
    """Leave out the frames that led to the code and, behind it, to the producer. Return the error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code is not code:
        traceback = traceback.tb_next
    while traceback is not None and _is_ours(traceback.tb_frame):
        traceback = traceback.tb_next
    return error if traceback is None else error.with_traceback(traceback)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).startswith(_ROOMS)
