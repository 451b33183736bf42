"""The configuration file of ``trio-spool serve``: a TOML file that gives options their defaults."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from .._files import explain
from ..server import Settings, SettingsError

if sys.version_info < (3, 11):
    import tomli as tomllib
else:
    import tomllib

_FIELDS = attrs.fields_dict(Settings)
# What of a value a message shows.
_SHOWN = 100


class ConfigError(click.ClickException):
    """The file can't be used. The message is one line, and says which file, which key, its value, and what that must be."""

    exit_code = 2


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Let a TOML file give the defaults: keys are the options' names, with dashes or underscores.

    Raises:
        ConfigError: The file can't be used.
    """
    if path is None:
        return
    parameters = {parameter.name: parameter for parameter in ctx.command.params if parameter.name and parameter.name != "config"}
    loaded = _load(path)
    unknown = sorted(key for key in loaded if key.replace("-", "_") not in parameters)
    if unknown:
        raise ConfigError(f"{path} sets {', '.join(map(_quoted, unknown))}; the options are {', '.join(sorted(parameters))}")
    values: dict[str, Any] = {}
    for key, value in loaded.items():
        name = key.replace("-", "_")
        if name in values:
            raise ConfigError(f"{path} sets {name} twice, with a dash and with an underscore; leave one out")
        values[name] = _checked(ctx, parameters[name], value, f"{path} sets {key} = {_toml(value)}")
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"can't read {path}: {explain(exc)}") from exc
    except RecursionError:
        raise ConfigError(f"{path} is not TOML that can be read: its lists are too deep") from None
    except ValueError as exc:  # also of what is not UTF-8, and of integers of thousands of digits
        raise ConfigError(f"{path} is not TOML: {exc}") from exc


def _checked(ctx: click.Context, parameter: click.Parameter, value: Any, what: str) -> Any:
    """Return a value as click takes it, if it can be used."""
    if parameter.multiple and isinstance(value, str):
        value = [value]
    wanted = _wanted(parameter, value)
    if wanted is not None:
        raise ConfigError(f"{what}; it must be {wanted}")
    field = _FIELDS.get(parameter.name or "")
    try:
        if isinstance(parameter.type, click.Path):
            parameter.type_cast_value(ctx, value)
        elif field is not None and field.validator is not None:
            field.validator(None, field, tuple(value) if parameter.multiple else value)
    except SettingsError as exc:
        raise ConfigError(f"{what}: {exc}") from None
    except click.BadParameter as exc:
        raise ConfigError(f"{what}: {exc.message}") from None
    return value


def _wanted(parameter: click.Parameter, value: object) -> str | None:
    """Return what the value of an option must be, if this one is of another type."""
    kind = parameter.type
    if parameter.multiple:
        fits = isinstance(value, list) and all(map(_is_text, value))
        return None if fits else "a text in quotes, or a list of such"
    if getattr(parameter, "is_flag", False):
        return None if isinstance(value, bool) else "true or false"
    if kind is click.INT:
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if kind is click.FLOAT:
        return None if isinstance(value, (int, float)) and not isinstance(value, bool) else "a number"
    if isinstance(kind, click.Choice):
        return None if isinstance(value, str) and value in kind.choices else f"one of {', '.join(map(_toml, kind.choices))}"
    return None if _is_text(value) else "a path in quotes"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _quoted(key: str) -> str:
    """Return a key as a message shows it: on one line."""
    return key if key.isprintable() else _toml(key)


def _toml(value: object) -> str:
    """Return a value about as it is written in the file, on one line."""
    if not isinstance(value, (bool, int, str, list, dict)):
        return str(value)  # a float, or a date or time
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except ValueError:  # Python refuses to print an int of thousands of digits
        return "a number of thousands of digits"
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
