"""Reading a password from standard input or from the terminal."""

from __future__ import annotations

import getpass
import sys
import warnings
from typing import Final

import click

from ._errors import CliError, LoginError

# Bytes of a line of standard input that are read: 16 times the 4096 characters that a password may have, to refuse longer ones.
PASSWORD_LINE: Final = 64 * 1024


def check_stdin() -> None:
    """Check that standard input is open."""
    if sys.stdin is None:
        raise CliError("standard input is closed; redirect it from a file, as with < FILE")


def read_password() -> str:
    """Return the first line of standard input."""
    check_stdin()
    line = sys.stdin.buffer.readline(PASSWORD_LINE)
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise LoginError("the password on standard input is not valid UTF-8") from None


def ask_password(*, confirm: bool) -> str:
    """Ask for a password at the terminal, which does not show it.

    Args:
        confirm: Ask for it twice, and again if the two differ.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
    except click.Abort as exc:
        if isinstance(exc.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise LoginError("no password was given") from None
    except getpass.GetPassWarning:
        click.echo(err=True)  # ends the line with the question
        raise LoginError("there is no terminal to ask for the password; use --password-stdin") from None
