"""The configuration file of ``trio-spool serve``: a TOML file with defaults for its options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import attrs
import click

from .._files import explain, read_bounded
from ..server import Settings, SettingsError
from ._errors import ConfigError
from ._modes import Mode
from ._quantities import SIZE_FORMS, TIME_FORMS, Duration, Size

if sys.version_info < (3, 11):
    import tomli as tomllib
else:
    import tomllib

# Where a context notes that its options are read another time.
AGAIN: Final = "trio_spool.cli.again"
_FIELDS = attrs.fields_dict(Settings)
# Characters of a value that a message shows. Picked, so that the message stays readable.
_SHOWN: Final = 100
# The maximum number of bytes of a file. Picked: with every option, it has about 2 kB.
_MAX_SIZE: Final = 1024 * 1024


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Take the defaults of the options from a TOML file, whose keys are their names, with dashes or underscores.

    Raises:
        ConfigError: The file can't be used. The message says which file, which key, its value, and the values that the key can
            have.
    """
    if path is None:
        return
    if ctx.meta.get(AGAIN) and path.exists() and not path.is_file():  # a pipe has nothing any more, or keeps its reader waiting
        raise ConfigError(f"{path} is not a regular file, so it can't be read again")
    parameters = {parameter.name: parameter for parameter in ctx.command.params if parameter.name and parameter.name != "config"}
    loaded = _load(path)
    unknown = sorted(key for key in loaded if key.replace("-", "_") not in parameters)
    if unknown:
        raise ConfigError(f"{path} sets {', '.join(map(_quoted, unknown))}; the options are {', '.join(sorted(parameters))}")
    values: dict[str, Any] = {}
    for key, value in loaded.items():
        name = key.replace("-", "_")
        if name in values:
            raise ConfigError(f"{path} sets {name} twice, with a dash and with an underscore; remove one of them")
        values[name] = _checked(ctx, parameters[name], value, f"{path} sets {key} = {_toml(value)}")
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bounded(path, _MAX_SIZE).decode())
    except OSError as exc:
        raise ConfigError(f"can't read {path}: {explain(exc)}") from exc
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: its lists are too deeply nested") from None
    except ValueError as exc:  # also if it is not UTF-8, or if an integer has thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc


def _checked(ctx: click.Context, parameter: click.Parameter, value: Any, what: str) -> Any:
    """Return a value if its option can have it, as click takes it.

    Args:
        ctx: The context of the command.
        parameter: The option.
        value: The value, as TOML has it.
        what: The beginning of the message if it can't.
    """
    if parameter.multiple and isinstance(value, str):
        value = [value]
    wanted = _wanted(parameter, value)
    if wanted is not None:
        raise ConfigError(f"{what}; it must be {wanted}")
    field = _FIELDS.get(parameter.name or "")
    try:
        if isinstance(parameter.type, (click.Path, Mode, Size, Duration)):
            converted = parameter.type_cast_value(ctx, value)
        else:
            converted = tuple(value) if parameter.multiple else value
        if field is not None and field.validator is not None and not isinstance(parameter.type, click.Path):
            field.validator(None, field, converted)
    except SettingsError as exc:
        raise ConfigError(f"{what}: {exc}") from None
    except click.BadParameter as exc:
        raise ConfigError(f"{what}: {exc.message}") from None
    return value


def _wanted(parameter: click.Parameter, value: object) -> str | None:
    """Return the type that the value of an option must have, or None if it has that type."""
    kind = parameter.type
    if parameter.multiple:
        fits = isinstance(value, list) and all(map(_is_text, value))
        return None if fits else "text in quotes, or a list of texts in quotes"
    if getattr(parameter, "is_flag", False):
        return None if isinstance(value, bool) else "true or false"
    if kind is click.INT:
        return None if _is_whole(value) else "a whole number"
    if kind is click.FLOAT:
        return None if _is_number(value) else "a number"
    if isinstance(kind, Size):
        return None if _is_text(value) or _is_whole(value) else f"a whole number, or in quotes {SIZE_FORMS}"
    if isinstance(kind, Duration):
        return None if _is_text(value) or _is_number(value) else f"a number of seconds, or in quotes {TIME_FORMS}"
    if isinstance(kind, click.Choice):
        return None if isinstance(value, str) and value in kind.choices else f"one of {', '.join(map(_toml, kind.choices))}"
    if isinstance(kind, Mode):  # as a number, 660 would be decimal
        return None if _is_text(value) else 'octal permission bits in quotes, such as "0660"'
    return None if _is_text(value) else "a path in quotes"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _quoted(key: str) -> str:
    """Return a key for a message, on one line."""
    return key if key.isprintable() else _toml(key)


def _toml(value: object) -> str:
    """Return a value for a message: about as the file has it, on one line."""
    if not isinstance(value, (bool, int, str, list, dict)):
        return str(value)  # a float, or a date or time
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except ValueError:  # Python refuses to print an int of thousands of digits
        return "a number of thousands of digits"
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
