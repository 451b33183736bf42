"""What can go wrong with a command: every error is one line on standard error, and then the exit status.

The errors of other packages become these in `explained`; click's own `UsageError` says what is wrong with the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


class CliError(click.ClickException):
    """A command failed. The message is one line, whatever a server, a file or a file name in it says. The exit status is 1."""

    def format_message(self) -> str:
        """Return the message, with escapes in place of what a terminal would obey."""
        from .._formats import visible  # is not needed for a page of help

        return visible(self.message)


class OutputError(CliError):
    """Standard output can't be written."""


class StoppedError(CliError):
    """Ctrl-C ended a command that has to say what is to be done now. The exit status is 130."""

    exit_code = 130


class ConnectionFailedError(CliError):
    """The server can't be reached, does not answer, or refuses a request."""


class MissingItemError(ConnectionFailedError):
    """There is no such item."""


class LoginError(CliError):
    """The login failed, or the password or a certificate for it is missing or can't be used."""


class FileError(CliError):
    """A file or a directory can't be read or written, or has the wrong content."""


class DocumentError(FileError):
    """A line of a file is not a document."""


class MissingKeyError(DocumentError):
    """A line of a file is a JSON object, but does not have the key of a document in the form that ``dump`` writes."""


class ConfigError(FileError):
    """The configuration file of ``serve`` can't be used. The exit status is 2, as for wrong options."""

    exit_code = 2


@contextmanager
def explained(*errors: type[Exception], as_: type[CliError] = CliError) -> Iterator[None]:
    """Turn errors of other packages, whose messages are for users, into errors of a command."""
    try:
        yield
    except errors as exc:
        raise as_(str(exc)) from None
