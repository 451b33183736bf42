"""What a connection has negotiated, whose it is, and how its errors are worded."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Final

import attrs

from ..auth import Role, ScramExchange, User
from ..mcbp import DataType, Feature, Opcode, Status, encode_response, status_text, with_framing
from ..mcbp import encode_server_duration as encode_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._buckets import Bucket
    from .commands.permissions import Rule

# What HELLO may be granted.
GRANTED: Final = frozenset(
    {
        Feature.TCP_NODELAY, Feature.MUTATION_SEQNO, Feature.XATTR, Feature.XERROR, Feature.SELECT_BUCKET, Feature.SNAPPY,
        Feature.JSON, Feature.UNORDERED_EXECUTION, Feature.TRACING, Feature.ALT_REQUEST, Feature.SYNC_REPLICATION,
        Feature.COLLECTIONS, Feature.PRESERVE_TTL, Feature.SUBDOC_DOCUMENT_MACROS,
    }
)  # fmt: skip
# Every role, on every bucket: what a client has where no users are set up.
EVERYTHING: Final = User("", frozenset({Role.ADMIN}), {}, {})


@attrs.frozen
class Door:
    """How a client came in.

    Attributes:
        port: Of the listener; 0 if that has none.
        tls: Whether it is encrypted.
        login: Whether somebody must log in.
    """

    port: int = 0
    tls: bool = False
    login: bool = False


class Session:
    """A classic session until HELLO grants a feature, a Couchbase session from then on.

    Attributes:
        door: How the client came in.
        features: What HELLO has granted.
        classic: Whether it is a classic session.
        datatypes: The datatype bits that may be used.
        collections: Whether keys come with the id of their collection.
        tracing: Whether replies tell how long they took.
        agent: What the client calls itself, or empty.
        bucket: What its commands work on.
        selected: Whether the client has asked for that bucket; else it is the default one.
        user: Who it is; None if that is still to be said.
        scram: A login that has begun.
        failures: How many logins have failed.
        changed: Whether what follows from it has to be looked up anew.
        allowed: For each opcode 0, or the status to refuse it with.
    """

    def __init__(self, door: Door, bucket: Bucket, rules: Sequence[Rule]) -> None:
        self.door = door
        self.features: frozenset[Feature] = frozenset()
        self.agent = ""
        self.classic = True
        self.datatypes = 0
        self.collections = False
        self.tracing = False
        self.bucket: Bucket | None = None
        self.selected = False
        self.user: User | None = None
        self.scram: ScramExchange | None = None
        self.failures = 0
        self.changed = True
        self.allowed: tuple[int, ...] = ()
        self._default = bucket
        self._rules = rules
        self.log_in(None if door.login else EVERYTHING)

    @property
    def unordered(self) -> bool:
        """Whether long commands may overlap."""
        return Feature.UNORDERED_EXECUTION in self.features

    def negotiate(self, wanted: list[int]) -> list[int]:
        """Start again from nothing, and grant what is known of `wanted`."""
        self.features = frozenset(feature for feature in GRANTED if feature in wanted)
        self.changed = True
        self.classic = not self.features
        json_ = DataType.JSON if Feature.JSON in self.features else 0
        snappy = DataType.SNAPPY if Feature.SNAPPY in self.features else 0
        self.datatypes = int(json_ | snappy)
        self.collections = Feature.COLLECTIONS in self.features
        self.tracing = Feature.TRACING in self.features
        return [feature for feature in dict.fromkeys(wanted) if feature in self.features]

    def log_in(self, user: User | None) -> None:
        """Let a user in, or nobody; what another one could do is over. The default bucket is selected, for those who may use it."""
        self.user = user
        self.scram = None
        self.use(None)

    def use(self, bucket: Bucket | None, *, selected: bool = False) -> None:
        """Work on a bucket; None for the default one, if the user may."""
        if bucket is None and self.user is not None and self.user.may_use(self._default.name):
            bucket = self._default
        self.bucket = bucket
        self.selected = selected
        self._allow()

    def leave_bucket(self) -> None:
        """Work on none, since it is gone."""
        self.bucket = None
        self._allow()

    def _allow(self) -> None:
        user, bucket = self.user, self.bucket
        name = bucket.name if bucket is not None else None
        allowed = []
        for rule in self._rules:
            if rule.before_login:
                status = 0
            elif user is None:
                status = int(Status.AUTH_ERROR)
            elif rule.bucket and bucket is None:
                status = int(Status.NO_BUCKET)
            else:
                # What is not about a bucket takes the role in all of them.
                where = name if rule.bucket else None
                status = 0 if all(user.may(role, where) for role in rule.roles) else int(Status.NO_ACCESS)
            allowed.append(status)
        self.allowed = tuple(allowed)
        self.changed = True

    def error(self, opcode: int, opaque: int, status: int, context: str = "") -> bytes:
        """Encode the reply that reports an error; `context` says more, to sessions that have asked for that."""
        if self.classic:
            return encode_response(opcode, status, opaque, value=status_text(status))
        if Feature.XERROR not in self.features or not context:
            return encode_response(opcode, status, opaque)
        value = json.dumps({"error": {"context": context, "ref": str(uuid.uuid4())}}).encode()
        return encode_response(opcode, status, opaque, value=value, datatype=self.datatypes & DataType.JSON)

    def timed(self, frame: bytes, seconds: float) -> bytes:
        """Return a reply with the time that it took, for sessions that have asked for that."""
        return with_framing(frame, encode_duration(seconds)) if self.tracing else frame

    def shown_key(self, key: bytes) -> bytes:
        """Return a key as the client sends it: with its collection, or, where there is only the default one, without."""
        return key if self.collections else key[1:]

    def cas_of_delete(self, cas: int) -> int:
        """Return the CAS that a DELETE's reply shows."""
        return 0 if self.classic else cas

    def supports(self, opcode: int) -> bool:
        """Whether this kind of session has a command at all."""
        return self.classic or opcode not in (Opcode.FLUSH, Opcode.FLUSHQ)

    def status_of(self, status: Status, opcode: int) -> Status:
        """Return the status that this kind of session knows: those without XERROR do not know of locks."""
        if status not in (Status.LOCKED, Status.NOT_LOCKED) or Feature.XERROR in self.features:
            return status
        locking = opcode in (Opcode.GET_LOCKED, Opcode.UNLOCK_KEY)
        return Status.TEMPORARY_FAILURE if locking else Status.EXISTS

    def status_of_contradiction(self) -> int:
        """Return the status for a frame whose lengths contradict each other."""
        return Status.UNKNOWN_COMMAND if self.classic else Status.INVALID
