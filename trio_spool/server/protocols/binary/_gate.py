"""Admission: what is checked before any command runs."""

from __future__ import annotations

import cramjam

from ....mcbp import DEFAULT_COLLECTION, DataType, FrameInfoId, RemoteProtocolError, Request, Status, decode_leb128
from ...commands.durability import Durability, is_met
from ...conversation import Refusal
from ...data import Bucket
from ...shared import Cause
from ._exchange import BinaryExchange


def is_plain(request: Request) -> bool:
    """Whether nothing of a request but its opcode needs a look from `admit`."""
    return not (request.vbucket or request.cas or request.datatype or request.frame_infos or request.key[:1] != DEFAULT_COLLECTION)


def admit(exchange: BinaryExchange, request: Request) -> Request | None:
    """Return a request that may run, with its value inflated; None for one that was answered with an error."""
    session = exchange.session
    refusal = session.allowed[request.opcode]
    if refusal:
        _refuse(exchange, request, refusal)
        return None
    if request.cas and not _may_have_cas(exchange, request):
        exchange.error(request, Status.INVALID, f"{exchange.table.names[request.opcode]} can't have a CAS; leave it out")
        return None
    if request.frame_infos:
        problem = _frame_info_problem(exchange, request)
        if problem is not None:
            exchange.error(request, *problem)
            return None
    shape = exchange.table.shapes[request.opcode]
    bucket = session.bucket
    if shape is not None and shape.collection and bucket is not None:
        if request.vbucket >= bucket.vbuckets:
            not_my_vbucket(exchange, request)
            return None
        if request.key[0] and bucket.collection_of(request.key) is None:
            number = decode_leb128(request.key)[0]
            exchange.error(request, Status.UNKNOWN_COLLECTION, f"no collection has the id 0x{number:x}")
            return None
    if request.datatype & DataType.SNAPPY:
        return _inflate(exchange, request)
    return request


def _may_have_cas(exchange: BinaryExchange, request: Request) -> bool:
    """Return whether a CAS is accepted: classic clients may send one with any command, and an unknown command says so itself."""
    table, opcode = exchange.table, request.opcode
    return exchange.features.classic or opcode in table.taking_cas or table.shapes[opcode] is None


def _refuse(exchange: BinaryExchange, request: Request, refusal: int) -> None:
    if refusal == Refusal.LOGIN:
        exchange.error(request, Status.AUTH_ERROR, "log in first")
        exchange.close(Cause.LOGIN_MISSING)
    elif refusal == Refusal.BUCKET:
        exchange.error(request, Status.NO_BUCKET, "select a bucket first")
    else:
        user = exchange.session.user
        roles = " and ".join(role.value for role in exchange.table.rules[request.opcode].roles)
        needed = f"lacks the role {roles} here" if roles else "may not use this command"
        exchange.error(request, Status.NO_ACCESS, f"the user {user.name if user else ''!r} {needed}")


def not_my_vbucket(exchange: BinaryExchange, request: Request) -> None:
    """Reply that the vbucket does not exist, with the configuration that says which ones do."""
    if exchange.features.classic:
        exchange.error(request, Status.NOT_MY_VBUCKET)
    else:
        exchange.answer(request, status=Status.NOT_MY_VBUCKET, value=exchange.cluster_config(), datatype=DataType.JSON)


def _frame_info_problem(exchange: BinaryExchange, request: Request) -> tuple[Status, str] | None:
    """Return why the frame infos of a request are refused: what would have no effect is not accepted in silence."""
    name, infos = exchange.table.names[request.opcode], exchange.table.infos[request.opcode]
    if infos is None:
        return None  # an unknown command, which says so itself
    for info in request.frame_infos:
        if info.id == FrameInfoId.DURABILITY:
            if info.id not in infos:
                return Status.INVALID, f"{name} can't be durable: it changes no item"
            if problem := _durability_problem(exchange.session.bucket, info.value):
                return problem
        elif info.id == FrameInfoId.PRESERVE_TTL and info.id not in infos:
            return Status.NOT_SUPPORTED, f"{name} can't keep an expiry"
    return None


def _durability_problem(bucket: Bucket | None, value: bytes) -> tuple[Status, str] | None:
    try:
        durability = Durability(value[0])
    except ValueError:
        return Status.DURABILITY_INVALID_LEVEL, f"no durability level has the number {value[0]}"
    # kv_engine refuses these two as well. Any other has no effect: one commit is all that there is to wait for.
    if len(value) > 1 and (timeout := int.from_bytes(value[1:], "big")) in (0, 0xFFFF):
        return Status.INVALID, f"a durability timeout is 1 to 65534 milliseconds; got {timeout}"
    if bucket is not None and not is_met(bucket, durability):
        return Status.DURABILITY_IMPOSSIBLE, "mutations are acknowledged before they are on disk, unless --fsync is always"
    return None


def _inflate(exchange: BinaryExchange, request: Request) -> Request | None:
    limit = exchange.shared.settings.max_item_size
    try:
        size, _ = decode_leb128(request.value)
        if size > limit:
            exchange.shared.limits.hit("max-item-size")
            exchange.error(request, Status.TOO_BIG, f"the value has {size} bytes inflated; the limit is {limit}")
            return None
        value = bytes(cramjam.snappy.decompress_raw(request.value))
    except (RemoteProtocolError, cramjam.DecompressionError):
        exchange.error(request, Status.INVALID, "the value is not valid Snappy data")
        return None
    return request._replace(value=value, datatype=request.datatype & ~DataType.SNAPPY)
