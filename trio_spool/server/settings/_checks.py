"""The checks of settings: types and bounds. Each is an attrs validator, and its message names the setting as the option does."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from ...engine import ENGINES, SMALLEST_BOUND, EngineKind
from ._errors import SettingsError

Check: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]

# Seconds, some thirty years: as a float, a clock of that size still counts microseconds.
MAX_SECONDS = 1e9
# Bytes of one buffer: a terabyte is more memory than such a machine has.
MAX_BYTES = 1 << 40
# Bytes on a disk.
MAX_BOUND = 1 << 50
# Of anything that is counted: the largest C int.
MAX_COUNT = (1 << 31) - 1
# Of the whole. A smaller share of what there is some tens of would be none. Picked, not measured.
SMALLEST_SHARE = 0.01


def whole(lowest: int, highest: int = MAX_COUNT, unit: str = "") -> Check:
    """Accept an int from `lowest` to `highest`, both included."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _error(attribute, "must be a whole number", value)
        if not lowest <= value <= highest:
            raise _error(attribute, f"must be from {lowest} to {highest}{unit}", value)

    return check


def size() -> Check:
    """Accept a number of bytes."""
    return whole(1, MAX_BYTES, " bytes")


def rate() -> Check:
    """Accept a number of bytes per second, and 0 for no limit."""
    return whole(0, MAX_BYTES, " bytes per second (0: no limit)")


def bound(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept a bound on the size of a store in bytes, and 0 for none."""
    whole(0, MAX_BOUND, " bytes (0: no bound)")(instance, attribute, value)
    if 0 < value < SMALLEST_BOUND:
        raise _error(attribute, f"must be {SMALLEST_BOUND} bytes or more, or 0 for no bound", value)


def share(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept the share of a whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _error(attribute, "must be a number, the share of a whole", value)
    if not SMALLEST_SHARE <= value <= 1:  # nothing compares with nan
        raise _error(attribute, f"must be from {SMALLEST_SHARE:g} to 1, which is the whole", value)


def seconds(lowest: float, highest: float = MAX_SECONDS, *, or_never: bool = False) -> Check:
    """Accept seconds from `lowest` to `highest`, both included; with `or_never`, infinity as well."""
    bounds = f"must be from {lowest:g} to {highest:g} seconds{', or inf' if or_never else ''}"

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _error(attribute, "must be a number of seconds", value)
        if not lowest <= value <= highest and not (or_never and value == math.inf):  # nothing compares with nan
            raise _error(attribute, bounds, value)

    return check


def permissions(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept the permission bits of a file."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:
        raise _error(attribute, "must be permission bits from 0o000 to 0o777", oct(value) if type(value) is int else value)


def one_of(*choices: str) -> Check:
    """Accept one of these words."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise _error(attribute, f"must be one of {', '.join(choices)}", value)

    return check


def engine(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept the name of an engine, or a kind of engine that the program brings itself."""
    if not isinstance(value, EngineKind):
        one_of(*ENGINES)(instance, attribute, value)


def whether(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept a bool, and nothing else: a word like "no" would count as true."""
    if not isinstance(value, bool):
        raise _error(attribute, "must be True or False", value)


def path_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept a path, as `to_path` converts it, or None."""
    if value is not None and not isinstance(value, Path):
        raise _error(attribute, "must be a path", value)
    if value is not None and "\0" in str(value):
        raise _error(attribute, "must be a path without NUL characters", str(value))


def addresses(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept a tuple of str, as `to_tuple` converts it."""
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        raise _error(attribute, "must be one address or several, each a str", value)
    if not value:
        raise SettingsError("nothing to listen on: give at least one address")


def texts(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept a tuple of str, as `to_tuple` converts it; it may be empty."""
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        raise _error(attribute, "must be one text or several, each a str", value)


def words_of(*choices: str) -> Check:
    """Accept some of these words, each once, with commas between them."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        words = value.split(",") if isinstance(value, str) else []
        if not words or len(set(words)) < len(words) or not set(words) <= set(choices):
            raise _error(attribute, f"must be {' or '.join(choices)}, or {','.join(choices)}", value)

    return check


def to_path(value: str | os.PathLike[str] | None) -> Path | None:
    """Convert a str or path-like object to a path; anything else is left for `path_or_none` to refuse."""
    return Path(value) if isinstance(value, (str, os.PathLike)) else value


def to_tuple(value: str | Iterable[str]) -> tuple[str, ...]:
    """Convert one str, or several, to a tuple; anything else is left for `addresses` to refuse."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, at most 100 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an int of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else text[:99] + "…"


def _error(attribute: attrs.Attribute[Any], wanted: str, value: object) -> SettingsError:
    return SettingsError(f"{attribute.name.replace('_', '-')} {wanted}; got {shown(value)}")
