"""Permission bits as an option takes them: in octal, as chmod does."""

from __future__ import annotations

from typing import Any

import click


class Mode(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Permission bits of a file, given as octal text."""

    name = "octal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bits. The default of an option is an int already."""
        if isinstance(value, int):
            return value
        try:
            bits = int(value, 8)
        except ValueError:
            bits = -1
        if not 0 <= bits <= 0o777:
            self.fail(f"{value!r} is not permission bits in octal, such as 0660", param, ctx)
        return bits
