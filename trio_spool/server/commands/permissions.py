"""Who may use a command, and when."""

from __future__ import annotations

from typing import Final, NamedTuple

from ...auth import Role


class Rule(NamedTuple):
    """What must be so before a command runs.

    Attributes:
        roles: What the user must be, on the bucket.
        bucket: Whether there must be one.
        before_login: Whether nobody needs to have logged in.
    """

    roles: tuple[Role, ...] = ()
    bucket: bool = False
    before_login: bool = False


FREE: Final = Rule(before_login=True)
ANYBODY: Final = Rule()
ANYBODY_IN_BUCKET: Final = Rule(bucket=True)
READ: Final = Rule((Role.READ,), bucket=True)
WRITE: Final = Rule((Role.WRITE,), bucket=True)
READ_AND_WRITE: Final = Rule((Role.READ, Role.WRITE), bucket=True)
STATS: Final = Rule((Role.STATS,), bucket=True)
ADMIN: Final = Rule((Role.ADMIN,))
ADMIN_OF_BUCKET: Final = Rule((Role.ADMIN,), bucket=True)
