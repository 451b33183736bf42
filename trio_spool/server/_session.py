"""What a connection has negotiated, and how its errors are worded."""

from __future__ import annotations

import json
import uuid

from ..mcbp import DataType, Feature, Opcode, Status, encode_response, status_text

# What HELLO may be granted.
GRANTED = frozenset(
    {Feature.TCP_NODELAY, Feature.MUTATION_SEQNO, Feature.XERROR, Feature.JSON, Feature.UNORDERED_EXECUTION}
)  # fmt: skip


class Session:
    """A classic session until HELLO grants a feature, a Couchbase session from then on.

    Attributes:
        agent: What the client calls itself, or empty.
    """

    def __init__(self) -> None:
        self.features: frozenset[Feature] = frozenset()
        self.agent = ""
        self.verbosity = 0

    @property
    def classic(self) -> bool:
        """Whether it is a classic session."""
        return not self.features

    @property
    def datatypes(self) -> int:
        """The datatype bits that may be used."""
        return int(DataType.JSON) if Feature.JSON in self.features else 0

    @property
    def unordered(self) -> bool:
        """Whether long commands may overlap."""
        return Feature.UNORDERED_EXECUTION in self.features

    def negotiate(self, wanted: list[int]) -> list[int]:
        """Start again from nothing, and grant what is known of `wanted`."""
        self.features = frozenset(feature for feature in GRANTED if feature in wanted)
        return [feature for feature in dict.fromkeys(wanted) if feature in self.features]

    def error(self, opcode: int, opaque: int, status: int, context: str = "") -> bytes:
        """Encode the reply that reports an error; `context` says more, to sessions that have asked for that."""
        if self.classic:
            return encode_response(opcode, status, opaque, value=status_text(status))
        if Feature.XERROR not in self.features or not context:
            return encode_response(opcode, status, opaque)
        value = json.dumps({"error": {"context": context, "ref": str(uuid.uuid4())}}).encode()
        return encode_response(opcode, status, opaque, value=value, datatype=self.datatypes & DataType.JSON)

    def cas_of_delete(self, cas: int) -> int:
        """Return the CAS that a DELETE's reply shows."""
        return 0 if self.classic else cas

    def supports(self, opcode: int) -> bool:
        """Whether this kind of session has a command at all."""
        return self.classic or opcode not in (Opcode.FLUSH, Opcode.FLUSHQ)

    def status_of_contradiction(self) -> int:
        """Return the status for a frame whose lengths contradict each other."""
        return Status.UNKNOWN_COMMAND if self.classic else Status.INVALID
