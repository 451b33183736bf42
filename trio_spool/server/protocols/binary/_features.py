"""What HELLO has granted to a connection, and how its replies are worded because of it."""

from __future__ import annotations

import json
import uuid
from typing import Final

from ....mcbp import DataType, Feature, Opcode, Status, encode_response, status_text

GRANTED: Final = frozenset(
    {
        Feature.TCP_NODELAY, Feature.MUTATION_SEQNO, Feature.XATTR, Feature.XERROR, Feature.SELECT_BUCKET, Feature.SNAPPY,
        Feature.JSON, Feature.UNORDERED_EXECUTION, Feature.TRACING, Feature.ALT_REQUEST, Feature.SYNC_REPLICATION,
        Feature.COLLECTIONS, Feature.PRESERVE_TTL, Feature.SUBDOC_CREATE_AS_DELETED, Feature.SUBDOC_DOCUMENT_MACROS,
        Feature.SUBDOC_REPLACE_BODY_WITH_XATTR,
    }
)  # fmt: skip

_OF_TOOLS: Final = frozenset({Feature.XERROR, Feature.JSON, Feature.COLLECTIONS})


class Features:
    """A classic session until HELLO grants a feature, a Couchbase session from then on.

    Attributes:
        granted: The features that HELLO has granted.
        classic: Whether it is a classic session.
        datatypes: The datatype bits that may be used.
        collections: Whether keys come with the id of their collection.
        tracing: Whether replies say how long they took.
        unordered: Whether long commands may overlap.
        agent: What the client calls itself, or an empty string.
        changed: Set whenever HELLO has changed them. The protocol clears it once it has followed.
    """

    def __init__(self) -> None:
        self.granted: frozenset[Feature] = frozenset()
        self.classic = True
        self.datatypes = 0
        self.collections = False
        self.tracing = False
        self.unordered = False
        self.agent = ""
        self.changed = True

    @property
    def of_tool(self) -> bool:
        """Whether the client is one of Couchbase's command-line tools, which ask for just these features, and read statistics.

        They end with an error if a group has a row that they do not know.
        """
        return self.agent.startswith("cbstats") or self.granted == _OF_TOOLS

    def negotiate(self, wanted: list[int]) -> list[int]:
        """Forget what was granted, and grant those of the `wanted` features that are known. Returns the granted ones."""
        granted = self.granted = frozenset(feature for feature in GRANTED if feature in wanted)
        self.classic = not granted
        json_ = DataType.JSON if Feature.JSON in granted else 0
        snappy = DataType.SNAPPY if Feature.SNAPPY in granted else 0
        self.datatypes = int(json_ | snappy)
        self.collections = Feature.COLLECTIONS in granted
        self.tracing = Feature.TRACING in granted
        self.unordered = Feature.UNORDERED_EXECUTION in granted
        self.changed = True
        return [feature for feature in dict.fromkeys(wanted) if feature in granted]

    def error(self, opcode: int, opaque: int, status: int, context: str = "") -> bytes:
        """Encode the reply that reports an error. Sessions that have asked for it get the `context` as well."""
        if self.classic:
            return encode_response(opcode, status, opaque, value=status_text(status))
        if Feature.XERROR not in self.granted or not context:
            return encode_response(opcode, status, opaque)
        value = json.dumps({"error": {"context": context, "ref": str(uuid.uuid4())}}).encode()
        return encode_response(opcode, status, opaque, value=value, datatype=self.datatypes & DataType.JSON)

    def shown_key(self, key: bytes) -> bytes:
        """Return a stored key as the client knows it: without its collection, if the client has only the default one."""
        return key if self.collections else key[1:]

    def cas_of_delete(self, cas: int) -> int:
        """Return the CAS that a DELETE's reply shows."""
        return 0 if self.classic else cas

    def supports(self, opcode: int) -> bool:
        """Whether this kind of session has a command at all."""
        return self.classic or opcode not in (Opcode.FLUSH, Opcode.FLUSHQ)

    def status_of(self, status: Status, opcode: int) -> Status:
        """Return the status that this kind of session knows: those without XERROR do not know of locks."""
        if status not in (Status.LOCKED, Status.NOT_LOCKED) or Feature.XERROR in self.granted:
            return status
        locking = opcode in (Opcode.GET_LOCKED, Opcode.UNLOCK_KEY)
        return Status.TEMPORARY_FAILURE if locking else Status.EXISTS
