"""Who may use a command: the rule of a command, and why a client is refused."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from ...auth import Role


class Rule(NamedTuple):
    """What must be so before a command runs. A rule with neither roles, `anybody` nor `before_login` refuses everybody.

    Attributes:
        roles: The roles that the user must have, on the bucket or, if the command is not about a bucket, on all of them.
        bucket: Whether a bucket must be selected.
        anybody: Whether a user without any role may use it.
        before_login: Whether it may be used by clients that have not logged in.
    """

    roles: tuple[Role, ...] = ()
    bucket: bool = False
    anybody: bool = False
    before_login: bool = False


class Refusal(IntEnum):
    """Why a client may not use a command; `NONE` if it may."""

    NONE = 0
    LOGIN = 1  # it must log in first
    BUCKET = 2  # it must select a bucket first
    ACCESS = 3  # the user lacks a role


NOBODY: Final = Rule()
FREE: Final = Rule(before_login=True)
ANYBODY: Final = Rule(anybody=True)
ANYBODY_IN_BUCKET: Final = Rule(bucket=True, anybody=True)
READ: Final = Rule((Role.READ,), bucket=True)
WRITE: Final = Rule((Role.WRITE,), bucket=True)
READ_AND_WRITE: Final = Rule((Role.READ, Role.WRITE), bucket=True)
STATS: Final = Rule((Role.STATS,), bucket=True)
ADMIN: Final = Rule((Role.ADMIN,))
ADMIN_OF_BUCKET: Final = Rule((Role.ADMIN,), bucket=True)
