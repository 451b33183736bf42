"""The errors of logins and of the file of users."""

from __future__ import annotations


class AuthError(Exception):
    """The base of this package's errors."""


# While somebody logs in


class ScramError(AuthError):
    """A client's login failed, or its messages break the rules of SCRAM."""


# While the file of users is read, locked or written


class UsersError(AuthError):
    """The file of users can't be used. The message says which file, why, and what to do."""
