"""Who is served on a connection, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence

from trio_util import AsyncBool

from ...auth import ScramExchange, User
from ..data import Bucket
from ..shared import EVERYTHING, Client, Listener
from ._access import Refusal, Rule


class Session:
    """Who is served on a connection, whatever protocol it speaks.

    Attributes:
        listener: How the client came in.
        peer: The address of the client, for statistics and the log.
        bucket: The bucket that its commands work on, or None.
        selected: Whether the client has asked for that bucket; otherwise it is the default one.
        user: The user, or None before login.
        logged_in: Whether there is a user; tasks can wait for it.
        scram: A login that has begun and not ended.
        failures: How many logins have failed.
        connection: The number of the connection.
        arrived: When the bytes that are being answered have arrived, by `time.perf_counter`. The connection writes it.
        changed: Set whenever something above has changed. The protocol clears it once it has followed.
        allowed: For each command of the protocol, by its number, the `Refusal`, or 0.

    Args:
        listener: As above.
        bucket: The default bucket, which is selected from the beginning for those who may use it; None if it is broken.
        peer: As above.
    """

    def __init__(self, listener: Listener, bucket: Bucket | None, peer: str = "") -> None:
        self.listener = listener
        self.peer = peer
        self.bucket: Bucket | None = None
        self.selected = False
        self.user: User | None = None
        self.logged_in = AsyncBool(False)
        self.scram: ScramExchange | None = None
        self.failures = 0
        self.connection = 0
        self.arrived = 0.0
        self.changed = True
        self.allowed: tuple[int, ...] = ()
        self._default = bucket
        self._rules: Sequence[Rule] = ()
        self.log_in(None if listener.login else EVERYTHING)

    def client(self, bucket: Bucket | None) -> Client:
        """Return who is served, for the log of slow commands. The bucket is that of the command."""
        return Client(self.connection, self.peer, None if self.user is None else self.user.name or None, bucket)

    def follow(self, rules: Sequence[Rule]) -> None:
        """Keep `allowed` by the rules of a protocol's commands."""
        self._rules = rules
        self._allow()

    def log_in(self, user: User | None) -> None:
        """Let a user in, or nobody, and select the default bucket. Any earlier login and selection is dropped."""
        self.user = user
        self.logged_in.value = user is not None
        self.scram = None
        self.use(None)

    def use(self, bucket: Bucket | None, *, selected: bool = False) -> None:
        """Work on a bucket, or on the default one if the user may use that."""
        default = self._default
        if bucket is None and default is not None and self.user is not None and self.user.may_use(default.name):
            bucket = default
        self.bucket = bucket
        self.selected = selected
        self._allow()

    def leave_bucket(self) -> None:
        """Work on no bucket, since the selected one is being deleted."""
        self.bucket = None
        self._allow()

    def _allow(self) -> None:
        self.allowed = tuple([int(self.refusal(rule)) for rule in self._rules])
        self.changed = True

    def refusal(self, rule: Rule) -> Refusal:
        """Return why the client may not use a command with this rule, or `Refusal.NONE`."""
        user, bucket = self.user, self.bucket
        if rule.before_login:
            return Refusal.NONE
        if user is None:
            return Refusal.LOGIN
        if rule.bucket and bucket is None:
            return Refusal.BUCKET
        if rule.anybody:
            return Refusal.NONE
        where = bucket.name if bucket is not None and rule.bucket else None
        if rule.roles and all(user.may(role, where) for role in rule.roles):
            return Refusal.NONE
        return Refusal.ACCESS
