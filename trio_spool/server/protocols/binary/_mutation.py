"""What all commands that change an item reply."""

from __future__ import annotations

import struct

from ....engine import Outcome
from ....mcbp import Feature, Request, Status, encode_done, encode_response
from ._exchange import BinaryExchange
from ._problems import STATUS_OF

_TOKEN = struct.Struct(">QQ")


def encode_mutation(
    exchange: BinaryExchange, request: Request, outcome: Outcome, value: bytes = b"", cas: int | None = None
) -> bytes:
    """Encode the reply to a mutation: an error in any case, a success unless the command is a quiet one."""
    features = exchange.features
    if outcome.problem is not None:
        status = STATUS_OF[outcome.problem]
        return exchange.encode_error(request.opcode, request.opaque, features.status_of(status, request.opcode))
    if exchange.is_quiet(request):
        return b""
    extras = b""
    if Feature.MUTATION_SEQNO in features.granted and outcome.seqno:
        extras = _TOKEN.pack(exchange.bucket.vbucket_uuid(request.vbucket), outcome.seqno)
    if cas is None:
        cas = outcome.cas
    if not (value or outcome.deleted):
        return encode_done(request.opcode, request.opaque, cas, extras)
    done = Status.SUBDOC_SUCCESS_DELETED if outcome.deleted else Status.OK
    return encode_response(request.opcode, done, request.opaque, extras=extras, value=value, cas=cas)
