"""The bounds of one spool."""

from __future__ import annotations

import attrs

KIB = 1024


def _positive(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} must be an int, a number of bytes; got {value!r}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1 byte; got {value}")


def _half_the_window(limits: SpoolLimits) -> int:
    return limits.window // 2 if isinstance(limits.window, int) else 0


def _below_the_window(limits: SpoolLimits, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"low_water must be an int, a number of bytes; got {value!r}")
    if not 0 <= value < limits.window:
        raise ValueError(f"low_water must be at least 0 and less than the window of {limits.window} bytes; got {value}")


@attrs.frozen(kw_only=True)
class SpoolLimits:
    """How much a spool may hold, in bytes.

    Args:
        window: A producer pauses once it has emitted this many bytes that the receiver has not taken. The bytes
            held never exceed the window plus the one fragment that crossed it. While its producer runs, a spool
            also has a buffer of up to one batch, in which small fragments are collected.
        batch: The receiver gets at most this many bytes at once, plus the one fragment that crossed the bound. A
            larger batch costs less for each byte; with a smaller one, other tasks wait less long for the event
            loop.
        low_water: A paused producer is resumed once at most this many bytes are left to take. By default, half the
            window; with 0, the producer is resumed when nothing is left.

    Raises:
        TypeError: A limit is not an int.
        ValueError: A limit is less than 1 (``low_water``: less than 0), or ``low_water`` is not less than
            ``window``.
    """

    # Measured on two cores, fragments of 100 B to 64 KiB: with half of both, a fifth slower to half as fast; with twice as much, as
    # fast to a third slower, as the batches no longer fit into a cache.
    window: int = attrs.field(default=2048 * KIB, validator=_positive)
    batch: int = attrs.field(default=512 * KIB, validator=_positive)
    low_water: int = attrs.field(default=attrs.Factory(_half_the_window, takes_self=True), validator=_below_the_window)
