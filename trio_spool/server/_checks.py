"""What a setting may be: its type, and its bounds. Checks are validators of attrs, and name the setting as its option is named."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import attrs

Check: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]

# The most seconds that a time may have, some thirty years: clocks are calculated with in floats.
LONGEST = 1e9
# The most bytes that a buffer may have: more than any machine has memory.
MOST_BYTES = 1 << 40
# The most that there may be of anything that is counted: more than there can be, and no more than C takes.
MOST = (1 << 31) - 1


class SettingsError(ValueError):
    """A setting can't be used. The message says which, its value, and what to do."""


def whole(lowest: int, highest: int = MOST, unit: str = "") -> Check:
    """Take an int within bounds, which are included."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _error(attribute, "must be a whole number", value)
        if not lowest <= value <= highest:
            raise _error(attribute, f"must be from {lowest} to {highest}{unit}", value)

    return check


def size() -> Check:
    """Take a number of bytes."""
    return whole(1, MOST_BYTES, " bytes")


def seconds(lowest: float, highest: float = LONGEST, *, or_never: bool = False) -> Check:
    """Take a number of seconds within bounds, which are included; if `or_never`, infinity as well."""
    bounds = f"must be from {lowest:g} to {highest:g} seconds{', or inf' if or_never else ''}"

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _error(attribute, "must be a number of seconds", value)
        if not lowest <= value <= highest and not (or_never and value == math.inf):  # nothing compares with nan
            raise _error(attribute, bounds, value)

    return check


def one_of(*choices: str) -> Check:
    """Take one of some words."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise _error(attribute, f"must be one of {', '.join(choices)}", value)

    return check


def whether(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Take a bool: a word like "no" would count as true."""
    if not isinstance(value, bool):
        raise _error(attribute, "must be True or False", value)


def path_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Take what `to_path` has made a path."""
    if value is not None and not isinstance(value, Path):
        raise _error(attribute, "must be a path", value)
    if value is not None and "\0" in str(value):
        raise _error(attribute, "must be a path, which has no NUL in it", str(value))


def addresses(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Take what `to_tuple` has made a tuple of texts."""
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        raise _error(attribute, "must be addresses, each a str", value)
    if not value:
        raise SettingsError("nothing to listen on: give at least one address")


def to_path(value: str | os.PathLike[str] | None) -> Path | None:
    """Make a path of what stands for one, and leave anything else to `path_or_none`."""
    return Path(value) if isinstance(value, (str, os.PathLike)) else value


def to_tuple(value: str | Iterable[str]) -> tuple[str, ...]:
    """Make a tuple of one text or of several, and leave anything else to `addresses`."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value


def shown(value: object) -> str:
    """Return what a message says that a value is: one line, not too long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an int of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else text[:99] + "…"


def _error(attribute: attrs.Attribute[Any], wanted: str, value: object) -> SettingsError:
    return SettingsError(f"{attribute.name.replace('_', '-')} {wanted}; got {shown(value)}")
