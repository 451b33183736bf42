"""Where a password comes from."""

from __future__ import annotations

import getpass
import sys
import warnings

import click

# Bytes that are read of a line of standard input; more than any password may have.
PASSWORD_LINE = 64 * 1024


def check_stdin() -> None:
    """Make sure that there is a standard input to be read."""
    if sys.stdin is None:
        raise click.ClickException("standard input is closed; give it something to be read, as with < FILE")


def read_password() -> str:
    """Return the first line of standard input."""
    check_stdin()
    line = sys.stdin.buffer.readline(PASSWORD_LINE)
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.ClickException("the password on standard input is not UTF-8") from None


def ask_password(*, confirm: bool) -> str:
    """Ask for it; what is typed is not shown, so there must be a terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
    except getpass.GetPassWarning:
        click.echo(err=True)  # behind the question
        raise click.ClickException("there is no terminal to ask for the password at; give --password-stdin") from None
