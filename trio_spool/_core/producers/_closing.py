"""Closing an iterator whole: it, and the iterators inside of it that nothing else refers to.

`map`, `itertools.chain` and their like have no `close`, and a generator that loops over another does not close it. The inner
generator is closed when the last reference to it goes, in whatever thread that happens, and Python only prints the error that it
raises then. So the inner iterators are looked for here, and closed in the thread of the caller, who gets their errors.

An iterator is left alone if anything else refers to it: after ``islice(rows, 100)``, the caller may want the rest of ``rows``.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from operator import length_hint
from types import FrameType, GeneratorType, TracebackType

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Iterators without a `close` that read other iterators. Not `itertools.tee`: its other half may go on.
_WRAPPERS: tuple[type, ...] = (
    *(map, filter, zip, enumerate, itertools.accumulate, itertools.chain, itertools.compress, itertools.cycle, itertools.dropwhile),
    *(itertools.filterfalse, itertools.groupby, itertools.islice, itertools.pairwise, itertools.starmap, itertools.takewhile),
    itertools.zip_longest,
)
if sys.version_info >= (3, 12):
    _WRAPPERS = (*_WRAPPERS, itertools.batched)
# Where a wrapper keeps the iterators that it reads, or will read.
_CONTAINERS: tuple[type, ...] = (tuple, list, type(iter(())), type(iter([])))
# The maximum length of a tuple or list that is searched for iterators, which keeps the interpreter: picked, not measured.
_LONGEST = 1000


def close_whole(iterator: object, failure: BaseException | None = None) -> None:
    """Close an iterator if it has a `close`, and the iterators inside of it that nothing else refers to.

    Args:
        iterator: Closed whatever else refers to it.
        failure: The exception that ended the iterator. What the generator expressions in its traceback were reading is closed too:
            the traceback would keep it for as long as somebody keeps the exception.

    Raises:
        BaseException: Closing raised it. Several are raised in a group.
    """
    errors: list[BaseException] = []
    _close(iterator, errors)
    del iterator  # the traceback of what is raised here refers to this frame
    for frame in _ended_expressions(failure.__traceback__ if failure is not None else None):
        _close(frame, errors)
    del failure
    if len(errors) > 1:
        errors[:] = [BaseExceptionGroup("closing the iterators of a producer raised several errors", errors)]
    if errors:
        raise errors.pop()  # the list is empty then: the frames that the traceback leads to refer to it


def _close(iterator: object, errors: list[BaseException]) -> None:
    found, references = _search(iterator)
    close = getattr(iterator, "close", None)
    if close is not None:
        try:
            close()
        except BaseException as exc:
            errors.append(exc)
    if isinstance(iterator, GeneratorType):  # once it is closed, it refers to nothing any more
        references = [(holder, held) for holder, held in references if holder != id(iterator)]
    _forget_shared(found, references)
    while found:
        _, one = found.popitem()
        if hasattr(one, "close"):
            _close(one, errors)
        del one


def _search(root: object) -> tuple[dict[int, object], list[tuple[int, int]]]:
    """Return what is inside of an iterator or a frame, by `id`, and the references in between, each as the `id` of both ends."""
    found: dict[int, object] = {}
    references = []
    holders = [root]
    while holders:
        holder = holders.pop()
        for held in _iterators_of(holder):
            references.append((id(holder), id(held)))
            if id(held) not in found and held is not root:
                found[id(held)] = held
                if not isinstance(held, GeneratorType):  # what is in there may be seen when it is closed itself
                    holders.append(held)
    return found, references


def _references_to(found: dict[int, object], key: int) -> int:
    return sys.getrefcount(found[key])


# What `_references_to` returns for what only the dictionary refers to. It depends on the version of Python.
_ALONE = _references_to({0: object()}, 0)


def _forget_shared(found: dict[int, object], references: list[tuple[int, int]]) -> None:
    """Leave out all that something else refers to as well, and what is inside of that."""
    counts = Counter(held for _, held in references)
    shared = {key for key in found if _references_to(found, key) != _ALONE + counts[key]}
    while shared:
        for key in shared:
            found.pop(key, None)
        shared = {held for holder, held in references if holder in shared and held in found}


def _iterators_of(holder: object) -> list[object]:
    """Return what a holder refers to and may have to be closed, each as often as it refers to it."""
    if isinstance(holder, _CONTAINERS):
        return list(filter(_closable, gc.get_referents(holder))) if length_hint(holder) <= _LONGEST else []
    if isinstance(holder, _WRAPPERS):
        return list(filter(_closable, gc.get_referents(holder)))
    if isinstance(holder, GeneratorType) and sys.version_info < (3, 11):
        holder = holder.gi_frame
    if isinstance(holder, (GeneratorType, FrameType)):
        # Nothing else that has a `close`, such as a file: letting go of it is up to the function.
        return [one for one in gc.get_referents(holder) if isinstance(one, (GeneratorType, *_WRAPPERS))]
    return []


def _closable(value: object) -> bool:
    return isinstance(value, (*_WRAPPERS, *_CONTAINERS)) or (isinstance(value, Iterator) and hasattr(value, "close"))


def _ended_expressions(traceback: TracebackType | None) -> Iterator[FrameType]:
    """Yield the frames of generator expressions. That of a function may be running: it can have caught what was raised again."""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name == "<genexpr>":
            yield traceback.tb_frame
        traceback = traceback.tb_next
