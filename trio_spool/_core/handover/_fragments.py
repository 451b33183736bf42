"""What may be emitted and sent: everything that is bytes-like and contiguous in memory."""

from __future__ import annotations

from typing import Any

_NOT_CONTIGUOUS = "its memory is not contiguous; make it so with bytes(…)"
_TEXT = "a str, not bytes; encode it, or write it to the `text()` of a SpoolWriter"


def as_bytes(data: Any, number: int | None = None) -> bytes:
    """Return a copy of a bytes-like object.

    Args:
        data: The object.
        number: The number of the fragment, for the error, if the object is one of a producer.

    Raises:
        TypeError: It is not bytes-like, or not contiguous in memory.
    """
    try:
        view = memoryview(data)
        if view.c_contiguous:
            return bytes(view)  # not bytes(data), which turns a number into zeros
        problem = _NOT_CONTIGUOUS
    except TypeError as exc:
        problem = problem_of(exc)
    what = "data to send" if number is None else f"fragment {number} of a producer"
    raise TypeError(f"{what}: {problem}: {data!r:.80}")


def problem_of(error: Exception) -> str:
    """Say what is wrong with data for which Python raised a TypeError or a BufferError."""
    if isinstance(error, BufferError):
        return _NOT_CONTIGUOUS
    return _TEXT if str(error).endswith("'str'") else str(error)
