"""What is looked at before any command runs: may the client do this, here, and with what it asks for beside it?"""

from __future__ import annotations

import cramjam

from ...mcbp import DEFAULT_COLLECTION, SHAPES, DataType, FrameInfoId, RemoteProtocolError, Request, Status, decode_leb128
from .._exchange import Exchange
from ..commands.durability import Durability, is_met
from ._rules import RULES


def is_plain(request: Request) -> bool:
    """Whether there is nothing about a request that `admit` would look at, but for its opcode."""
    return not (request.vbucket or request.datatype or request.frame_infos or request.key[:1] != DEFAULT_COLLECTION)


def admit(exchange: Exchange, request: Request) -> Request | None:
    """Return a request that may run, with its value inflated; None for one that was answered with an error."""
    session = exchange.session
    status = session.allowed[request.opcode]
    if status:
        _refuse(exchange, request, status)
        return None
    shape = SHAPES[request.opcode]
    bucket = session.bucket
    if shape is not None and shape.collection and bucket is not None:
        if request.vbucket >= bucket.vbuckets:
            not_my_vbucket(exchange, request)
            return None
        if request.key[0] and bucket.collection_of(request.key) is None:
            unknown_collection(exchange, request, decode_leb128(request.key)[0])
            return None
    if request.frame_infos:
        problem = _durability_problem(exchange, request)
        if problem is not None:
            exchange.error(request, *problem)
            return None
    if request.datatype & DataType.SNAPPY:
        return _inflate(exchange, request)
    return request


def _refuse(exchange: Exchange, request: Request, status: int) -> None:
    if status == Status.AUTH_ERROR:
        exchange.error(request, status, "log in first")
        exchange.close()
    elif status == Status.NO_BUCKET:
        exchange.error(request, status, "select a bucket first")
    else:
        user = exchange.session.user
        roles = " and ".join(role.value for role in RULES[request.opcode].roles)
        exchange.error(request, status, f"the user {user.name if user else ''!r} lacks the role {roles} here")


def not_my_vbucket(exchange: Exchange, request: Request) -> None:
    """Reply that there is no such vbucket, with the configuration that says which there are."""
    if exchange.session.classic:
        exchange.error(request, Status.NOT_MY_VBUCKET)
    else:
        exchange.answer(request, status=Status.NOT_MY_VBUCKET, value=exchange.cluster_config(), datatype=DataType.JSON)


def unknown_collection(exchange: Exchange, request: Request, number: int) -> None:
    """Reply that there is no such collection."""
    exchange.error(request, Status.UNKNOWN_COLLECTION, f"there is no collection 0x{number:x}")


def _durability_problem(exchange: Exchange, request: Request) -> tuple[Status, str] | None:
    bucket = exchange.session.bucket
    for info in request.frame_infos:
        if info.id != FrameInfoId.DURABILITY:
            continue
        try:
            durability = Durability(info.value[0])
        except ValueError:
            return Status.DURABILITY_INVALID_LEVEL, f"durability level {info.value[0]} is not known"
        if bucket is not None and not is_met(bucket, durability):
            reason = "replies come before what they acknowledge is on disk, unless --fsync is always"
            return Status.DURABILITY_IMPOSSIBLE, reason
    return None


def _inflate(exchange: Exchange, request: Request) -> Request | None:
    limit = exchange.service.settings.max_item_size
    try:
        size, _ = decode_leb128(request.value)
        if size > limit:
            exchange.error(request, Status.TOO_BIG, f"the value has {size} bytes inflated, and the limit is {limit}")
            return None
        value = bytes(cramjam.snappy.decompress_raw(request.value))
    except (RemoteProtocolError, cramjam.DecompressionError):
        exchange.error(request, Status.INVALID, "the value is not what Snappy makes")
        return None
    return request._replace(value=value, datatype=request.datatype & ~DataType.SNAPPY)
