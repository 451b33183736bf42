"""Sizes and times as options take them: numbers with a unit, such as ``64k``, ``1GiB``, ``500ms`` or ``1h30m``.

A number without a unit is bytes or seconds. `format_size` and `format_duration` write the defaults of options in the same way.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click

# As GNU's tools read them: K and KiB are 1024, and kB is 1000. There is no case.
_SIZES: Final = {"": 1, "b": 1} | {
    unit: base**power
    for power, letter in enumerate("kmgt", 1)
    for unit, base in ((letter, 1024), (f"{letter}ib", 1024), (f"{letter}b", 1000))
}
_SIZE: Final = re.compile(r"(-?\d+)(?:\.(\d+))? ?([a-z]*)", re.ASCII)
_SHOWN_SIZES: Final = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
SIZE_FORMS: Final = (
    "bytes, or a number with K, M, G or T (also KiB and so on: powers of 1024) or kB, MB, GB or TB (powers of 1000), "
    "such as 64K, 1.5GiB or 10MB"
)

# In microseconds.
_TIMES: Final = {
    "us": 1, "µs": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "m": 60_000_000, "h": 3600_000_000, "d": 86400_000_000,
    "w": 604800_000_000,
}  # fmt: skip
_TIME: Final = re.compile(rf"(?:\d+(?:\.\d+)?(?:{'|'.join(_TIMES)}) ?)+", re.ASCII)
_TIME_PART: Final = re.compile(r"(\d+)(?:\.(\d+))?([a-zµ]+)")
_SHOWN_TIMES: Final = tuple((unit, _TIMES[unit]) for unit in ("d", "h", "m", "s", "ms", "us"))
_ENDLESS: Final = {"inf", "infinity", "never"}
TIME_FORMS: Final = "seconds, or numbers with us, ms, s, m, h, d or w, such as 500ms, 2s, 10m or 1h30m"
# The protocol's: up to thirty days, the expiry of an item is relative; above, it is a Unix time.
MAX_RELATIVE: Final = 30 * 86400
_MAX_32: Final = 2**32 - 1
# Characters of a value that are looked at. Picked: nobody means a longer number.
_MAX_TEXT: Final = 400


def _ratio(whole: str, fraction: str | None, factor: int) -> tuple[int, int]:
    """Return a decimal number, times a factor, as a numerator and a denominator."""
    digits = fraction or ""
    return int(whole + digits) * factor, int("1" + "0" * len(digits))


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number of bytes, as an int.

    Args:
        lowest: The least that it may be. The default, None, leaves that to whoever gets the number.
        highest: The most that it may be, likewise.
    """

    name = "size"
    forms = SIZE_FORMS

    def __init__(self, lowest: int | None = None, highest: int | None = None) -> None:
        self._lowest = lowest
        self._highest = highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size. An int is one already: the default of an option, or what a configuration file has."""
        size = value if isinstance(value, int) else self._parse(str(value), param, ctx)
        if self._lowest is not None and size < self._lowest:
            self.fail(f"{value!r} is less than {format_size(self._lowest)}", param, ctx)
        if self._highest is not None and size > self._highest:
            self.fail(f"{value!r} is more than {format_size(self._highest)}", param, ctx)
        return size

    def _parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(self._stripped(text.strip().lower())) if len(text) <= _MAX_TEXT else None
        if match is None or match[3] not in _SIZES:
            self.fail(f"{text!r:.100} is not a {self.name}: it must be {self.forms}", param, ctx)
        above, below = _ratio(match[1], match[2], _SIZES[match[3]])
        if above % below:
            self.fail(f"{text!r:.100} is not a whole number of bytes", param, ctx)
        return above // below

    @staticmethod
    def _stripped(text: str) -> str:
        return text


class Rate(Size):
    """A number of bytes per second, as an int. ``/s`` may stand behind it."""

    name = "rate"
    forms = f"{SIZE_FORMS}, per second; /s may stand behind it"

    @staticmethod
    def _stripped(text: str) -> str:
        return text.removesuffix("/s")


class Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A time span, as a float of seconds.

    Args:
        endless: Whether ``inf``, for no limit, is a value.
        positive: Whether it must be more than 0.
    """

    name = "time"

    def __init__(self, *, endless: bool = True, positive: bool = False) -> None:
        self._endless = endless
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a time. A number is one already: the default of an option, or what a configuration file has."""

        def refuse() -> NoReturn:
            endless = ", or inf for no limit" if self._endless else ""
            self.fail(f"{value!r:.100} is not a time: it must be {TIME_FORMS}{endless}", param, ctx)

        try:
            seconds = float(value) if isinstance(value, (int, float)) else _parse_time(value, refuse)
        except OverflowError:  # of an int, which may have more digits than Python prints
            self.fail("the number is too large for a time", param, ctx)
        if not self._endless and seconds == math.inf:
            self.fail(f"{value!r} can't be used here: there must be a limit", param, ctx)
        if self._positive and not seconds > 0:
            self.fail(f"{value!r} is not more than 0", param, ctx)
        return seconds


def _parse_time(text: str, refuse: Callable[[], NoReturn]) -> float:
    text = text.strip().lower()
    if len(text) > _MAX_TEXT:
        refuse()
    if text in _ENDLESS:
        return math.inf
    if _TIME.fullmatch(text):
        parts = (_ratio(whole, fraction, _TIMES[unit]) for whole, fraction, unit in _TIME_PART.findall(text))
        return sum(above / below for above, below in parts) / 1_000_000
    try:
        seconds = float(text)
    except ValueError:
        refuse()
    if not seconds >= 0:  # nan is not
        refuse()
    if seconds == math.inf:  # of digits: whoever means no limit says so
        raise OverflowError
    return seconds


class WholeSeconds(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A time span that is stored as whole seconds, as an int. ``never`` is 0.

    Args:
        highest: The maximum number of seconds.
    """

    name = "time"

    def __init__(self, highest: int) -> None:
        self._highest = highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a time."""
        if isinstance(value, int):
            return value
        return self._checked(value, self._seconds(value, param, ctx), param, ctx)

    def _seconds(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        def refuse() -> NoReturn:
            self.fail(f"{value!r:.100} is not a time: it must be {TIME_FORMS}, or never", param, ctx)

        try:
            seconds = _parse_time(value, refuse)
        except OverflowError:
            self.fail("the number is too large for a time", param, ctx)
        if seconds == math.inf:
            return 0
        if seconds != int(seconds):
            self.fail(f"{value!r:.100} is not whole seconds, in which servers count this time", param, ctx)
        return int(seconds)

    def _checked(self, value: str, seconds: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if seconds > self._highest:
            self.fail(f"{value!r:.100} is more than {self._highest} seconds, the maximum", param, ctx)
        return seconds


class Expiry(WholeSeconds):
    """When an item expires, as the protocol has it: 0 for never, seconds up to thirty days, or a Unix time.

    A number without a unit is taken as it is. With a unit, it is a time span, however long: above thirty days, a Unix time is made
    of it, by the clock of this machine.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(_MAX_32)
        self._clock = clock

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a time."""
        if isinstance(value, int):
            return value
        seconds = self._seconds(value, param, ctx)
        if seconds > MAX_RELATIVE and not value.strip().isdecimal():
            seconds += math.ceil(self._clock())
        return self._checked(value, seconds, param, ctx)


def format_size(size: int) -> str:
    """Return a size in the largest unit that it is a whole multiple of."""
    for unit, factor in _SHOWN_SIZES:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def format_duration(seconds: float) -> str:
    """Return a time in the largest unit that it is a whole multiple of."""
    if seconds in (0, math.inf):
        return f"{seconds:g}"
    microseconds = round(seconds * 1_000_000)
    for unit, factor in _SHOWN_TIMES:
        if microseconds and microseconds % factor == 0:
            return f"{microseconds // factor}{unit}"
    return f"{seconds:g}s"


def readable(kind: object, value: object) -> object:
    """Return the default of an option as its help shows it; each of these types reads what it gets."""
    if isinstance(kind, Size) and isinstance(value, int):
        per_second = "/s" if isinstance(kind, Rate) and value else ""
        return format_size(value) + per_second
    if isinstance(kind, Duration) and isinstance(value, (int, float)):
        return format_duration(value)
    return value
