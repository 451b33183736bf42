"""The values of statistics as JSON.

On the wire, each value is a text. What it means is decided by its form, except for names that are known to stand for a text: a
version, an identifier, a path or a name may look like a number, and is none. A test compares the result with the types that the
server's own rows have.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

# The last word of a name whose value is a text, whatever it looks like.
_TEXTS: Final = frozenset(
    {
        "addr", "advertise", "ca", "cert", "dir", "domain", "engine", "fsync", "id", "inter", "key", "kind", "libevent",
        "management", "metrics", "name", "path", "prefix", "protocols", "socket", "type", "uid", "umask", "users", "uuid",
        "version",
    }
)  # fmt: skip
# Groups whose names come from users: a bucket may be named like one of these.
_NAMED_BY_USERS: Final = frozenset({"buckets", "keys", "cachedump"})
_WORD: Final = re.compile(r"[^:_ ]*\Z")
# A number as JSON has it. An exponent has a sign, which tells 1e-05 from the hexadecimal digits 12e5.
NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-][0-9]+)?", re.ASCII)
# What our server, memcached and Couchbase print for a boolean.
_WORDS: Final = {"yes": "true", "true": "true", "no": "false", "false": "false"}


def value_as_json(group: str, name: str, value: str) -> str:
    """Return the value of a statistic as JSON text.

    A number keeps all its digits, however many there are. A JSON object or list is one. Everything else is a text.

    Args:
        group: The group that was asked for, which may have an argument.
        name: The name of the statistic.
        value: Its value.
    """
    if group.partition(" ")[0] in _NAMED_BY_USERS or not is_text(name):
        if NUMBER.fullmatch(value):
            return value
        if value in _WORDS:
            return _WORDS[value]
        if value[:1] in ("{", "["):
            try:
                return as_json(parse_json(value))
            except ValueError:
                pass
    return json.dumps(value)


def is_text(name: str) -> bool:
    """Whether the value of a statistic with this name is a text in any case."""
    match = _WORD.search(name)
    return match is not None and match[0] in _TEXTS


def parse_json(text: str) -> Any:
    """Parse JSON of a server.

    Raises:
        ValueError: It is not JSON, or nested too deeply, or has numbers that are too large.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def as_json(value: Any) -> str:
    """Encode what `parse_json` returned.

    Raises:
        ValueError: It has an infinite number, or is nested too deeply.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
