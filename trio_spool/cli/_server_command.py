"""Commands that talk to a server, whose address may be an option, the first argument, a variable, or left out.

``--server`` is always clear. Without it, the first argument is the address if it looks like one, or if there are more arguments
than the command takes besides. What stands behind ``--`` looks like nothing but itself. A key may look like ``HOST:PORT``, so where
there are keys, that is an address only if it has a scheme, or if the host is an IP address, ``localhost``, or has a dot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from ._addresses import DEFAULT_PORT, VARIABLE, ServerAddress, looks_like_address

_Function = TypeVar("_Function", bound=Callable[..., Any])
# The names of the parameters that `session_options` takes. A context's `meta` has the first one if there is no such argument.
WORD: Final = "server_word"
OPTION: Final = "server"


class ServerArgument(click.Argument):
    """The address as the first argument."""


class ServerCommand(click.Command):
    """A command whose first argument may be the address of a server.

    Attributes:
        takes_keys: Whether its arguments are keys, which may look like addresses.
    """

    takes_keys = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out whether the first argument is the address, and parse the arguments."""
        word = self._find_address(ctx, args)
        given = tuple(args)  # parsing consumes the list
        ctx.meta[WORD] = word is not None
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            raise self._explain_option(ctx, given, exc) from None
        except click.MissingParameter as exc:
            if not word:
                raise
            hint = f"{word!r} was taken for the server; if it is not, put -- before it, or name the server with --server"
            raise click.UsageError(f"{exc.format_message().rstrip('.')}; {hint}", ctx) from None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, without that argument if it is not there."""
        params = super().get_params(ctx)
        if ctx.meta.get(WORD, True):
            return params
        return [param for param in params if not isinstance(param, ServerArgument)]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line, with that argument in any case."""
        found = ctx.meta.pop(WORD, True)
        try:
            return super().collect_usage_pieces(ctx)
        finally:
            ctx.meta[WORD] = found

    def count_arguments(self, options: Mapping[str, Any]) -> tuple[int, int | None]:
        """Return how many arguments the command takes besides the address, at least and at most; None for any number.

        Args:
            options: The options that are given, as text.
        """
        least, most = 0, 0
        for param in self.params:
            if isinstance(param, click.Argument) and not isinstance(param, ServerArgument):
                least += int(param.required)
                if param.nargs < 0:
                    return least, None
                most += 1
        return least, most

    def _explain_option(self, ctx: click.Context, args: Sequence[str], error: click.NoSuchOption) -> click.UsageError:
        """Return the error for an unknown option, which may have been meant as a key or a value that begins with a dash."""
        word = next((word for word in args if word.startswith(error.option_name)), error.option_name)
        if error.possibilities or self.count_arguments({}) == (0, 0):
            return error
        what = "a key or a value" if self.takes_keys else "an argument"
        hint = f"{what} that begins with a dash needs -- before it, as in: {ctx.command_path} -- {word:.80}"
        return click.UsageError(f"no option is named {word!r:.80}; {hint}", ctx)

    def _find_address(self, ctx: click.Context, args: Sequence[str]) -> str | None:
        """Return the argument that is the address; None if none is, and an empty text if that can't be told."""
        try:
            options, words = self._split(ctx, args)
        except click.UsageError:
            return ""  # the error is found again when the arguments are parsed
        if options.get(OPTION) is not None or not words:
            return None
        _, most = self.count_arguments(options)
        if most is not None and len(words) > most:
            return words[0]
        if looks_like_address(words[0], certainly=self.takes_keys) and not self._is_behind_dashes(ctx, args):
            return words[0]
        return None

    def _split(self, ctx: click.Context, args: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the options, as text, and the arguments."""
        params: list[click.Parameter] = [param for param in self.params if isinstance(param, click.Option)]
        if (help_option := self.get_help_option(ctx)) is not None:
            params.append(help_option)
        params.append(click.Argument(["words"], nargs=-1, type=click.UNPROCESSED))
        probe = click.Command(self.name, params=params, add_help_option=False)
        options, _, _ = probe.make_parser(ctx).parse_args(list(args))
        words = options.pop("words", None)
        return options, tuple(words) if isinstance(words, (tuple, list)) else ()

    def _is_behind_dashes(self, ctx: click.Context, args: Sequence[str]) -> bool:
        if "--" not in args:
            return False
        try:
            return not self._split(ctx, args[: args.index("--")])[1]
        except click.UsageError:
            return False  # they are the value of an option


class KeyCommand(ServerCommand):
    """Such a command, whose other arguments are keys."""

    takes_keys = True


def server_command(name: str | None = None, **attributes: Any) -> Callable[[_Function], ServerCommand]:
    """Make a command of a function that has `server_argument` and `session_options`."""
    return click.command(name, cls=attributes.pop("cls", ServerCommand), **attributes)


def server_argument(function: _Function) -> _Function:
    """Give a command its SERVER, as an argument and as an option."""
    option = click.option(
        "--server", "-s", OPTION, type=ServerAddress(), default=f"127.0.0.1:{DEFAULT_PORT}", show_default=True, envvar=VARIABLE,
        show_envvar=True,
        help="The server: HOST[:PORT], tcp://, tls://, unix:PATH, couchbase:// or memcached://. It may also be the first argument.",
    )  # fmt: skip
    argument = click.argument(WORD, cls=ServerArgument, type=ServerAddress(), required=False, metavar="[SERVER]")
    return argument(option(function))
