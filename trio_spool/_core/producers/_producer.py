"""Producers: what can be one, and how it is taken over by the task that drives it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Union

from ..handover import BYTES, Bytes, ItemWriter, check_size
from ._turns import FilePieces, FunctionTurns, IterableTurns, Turns
from ._writer import SpoolWriter

Fragment = Union[bytes, bytearray, memoryview]
Producer = Union[Iterable[Fragment], Callable[[SpoolWriter], object]]


def prepare(
    producer: Any,
    *,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
    sender: object = None,
    size: object = BYTES,
) -> Turns:
    """Check a producer, and take it over for `drive`. The caller should drop its own references to the producer.

    Args:
        producer: See `open_spool`, like the next ones.
        stop: Called once nobody will read any more.
        name: What the log calls the producer; by default, its qualified name.
        sender: The sender of its output, which it may not call itself.
        size: What its items weigh.

    Raises:
        TypeError: The producer is neither an iterable of fragments, a binary file, nor a function; or `stop` is not a function.
    """
    if stop is not None and (not callable(stop) or inspect.iscoroutinefunction(stop)):
        raise TypeError(f"stop must be a blocking function without arguments, since it runs in a thread, not {stop!r}")
    check_size(size)
    turns = _turns_of(producer) if isinstance(size, Bytes) else _turns_of_items(producer)
    turns.stop = stop
    turns.sender = sender
    turns.name = name if name is not None else _name_of(producer)
    return turns


def _turns_of(producer: Any) -> Turns:
    if isinstance(producer, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"a producer emits fragments, but this is a single fragment: {producer!r:.80}. Put it in a list")
    _refuse_async(producer)
    if isinstance(producer, io.IOBase) or (hasattr(producer, "read") and hasattr(producer, "readline")):
        if isinstance(producer, io.TextIOBase) or hasattr(producer, "encoding"):
            raise TypeError(f"a producer emits bytes, but this file is open for text: {producer!r}. Open it in binary mode")
        return IterableTurns(FilePieces(producer))
    if isinstance(producer, Iterable):
        return IterableTurns(producer)
    if callable(producer):
        return FunctionTurns(producer, SpoolWriter)
    raise TypeError(f"a producer must be an iterable of fragments or a function that takes a SpoolWriter, not {producer!r}")


def _turns_of_items(producer: Any) -> Turns:
    if isinstance(producer, str):
        raise TypeError(f"a producer emits items, but this is a single one: {producer!r:.80}. Put it in a list")
    _refuse_async(producer)
    if isinstance(producer, Iterable):
        return IterableTurns(producer)
    if callable(producer):
        return FunctionTurns(producer, ItemWriter)
    raise TypeError(f"a producer of items must be an iterable, or a function that takes an ItemWriter, not {producer!r}")


def _refuse_async(producer: object) -> None:
    if inspect.iscoroutinefunction(producer) or inspect.isasyncgenfunction(producer) or hasattr(producer, "__aiter__"):
        raise TypeError(f"a producer must be blocking code, since it runs in a thread; this is async: {producer!r}")


def _name_of(producer: object) -> str:
    while isinstance(producer, partial):
        producer = producer.func
    name = getattr(producer, "__qualname__", None)
    return name if isinstance(name, str) else type(producer).__qualname__
