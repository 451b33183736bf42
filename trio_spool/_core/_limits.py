"""The bounds of one spool."""

from __future__ import annotations

import attrs

KIB = 1024


def _positive(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} is a number of bytes, an int; got {value!r}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1 byte; got {value}")


def _half_the_window(limits: SpoolLimits) -> int:
    return limits.window // 2 if isinstance(limits.window, int) else 0


def _below_the_window(limits: SpoolLimits, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"low_water is a number of bytes, an int; got {value!r}")
    if not 0 <= value < limits.window:
        raise ValueError(f"low_water must be at least 0 and below the window of {limits.window} bytes; got {value}")


@attrs.frozen(kw_only=True)
class SpoolLimits:
    """How much a spool may hold, in bytes.

    Args:
        window: A producer pauses once it has emitted this much that the receiver has not taken. What is held
            never exceeds the window plus the one fragment that crossed it. While its producer runs, a spool has
            beside that the buffer in which small fragments are collected, of up to one batch.
        batch: What the receiver gets at once is at most this much, plus the one fragment that crossed it. A
            larger batch is cheaper for each byte; a smaller one keeps the event loop's other tasks waiting
            for less long.
        low_water: A paused producer is resumed once no more than this much is left to take. Half the window
            if it is not given; 0 resumes it when nothing is left.

    Raises:
        TypeError: A limit is not an int.
        ValueError: A limit is less than 1 (``low_water``: less than 0), or ``low_water`` is not below
            ``window``.
    """

    window: int = attrs.field(default=4096 * KIB, validator=_positive)
    batch: int = attrs.field(default=1024 * KIB, validator=_positive)
    low_water: int = attrs.field(default=attrs.Factory(_half_the_window, takes_self=True), validator=_below_the_window)
