"""What a nursery's exception holds once it was caught."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from trio_spool._core import raise_the_one

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Held:
    """Stands for what the frames of a task hold."""


def fail(held: Held) -> None:
    raise ValueError


def test_its_frames_go_without_the_help_of_the_collector() -> None:
    held = Held()
    reference = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError) as caught:
            try:
                fail(held)
            except ValueError as exc:
                group = BaseExceptionGroup("", [exc])
            raise_the_one(group)
        del held, caught, group
        assert reference() is None
    finally:
        gc.enable()
