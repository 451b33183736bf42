"""What is known of items beside their values, and of vbuckets: GET_META, OBSERVE_SEQNO, GET_RANDOM_KEY."""

from __future__ import annotations

import struct

from ...engine import Item
from ...mcbp import Request, Status, encode_response
from .._buckets import prefix_of
from .._exchange import Exchange
from .._jobs import Answer
from ..commands import items
from ..commands.keys import choose_in_thread
from ._gate import not_my_vbucket, unknown_collection

_META = struct.Struct(">LLLQB")
_UUID = struct.Struct(">Q")
_OBSERVED = struct.Struct(">BHQQQ")
_OBSERVED_OTHER = struct.Struct(">BHQQQQQ")
_FLAGS = struct.Struct(">L")


def get_meta(exchange: Exchange, request: Request) -> None:
    """Extras: a version u8, 2 for all. Reply's extras: deleted u32, flags u32, expiry u32, seqno u64, and datatype u8."""
    exchange.read(request, _encode_meta)


def _encode_meta(exchange: Exchange, request: Request, item: Item | None) -> bytes:
    if item is None:
        return exchange.session.error(request.opcode, request.opaque, Status.NOT_FOUND)
    extras = _META.pack(0, item.flags, min(item.expiry, 0xFFFFFFFF), item.seqno, item.datatype)
    with_datatype = request.extras == b"\2"
    return exchange.encode(
        request, extras=extras if with_datatype else extras[:-1], cas=items.shown_cas(exchange.bucket, request.key, item.cas)
    )


def observe_seqno(exchange: Exchange, request: Request) -> None:
    """Value: the vbucket's uuid u64.

    Reply's value: u8 0, vbucket u16, uuid u64, sequence number on disk u64, and in memory u64. If the uuid is another one: u8 1,
    vbucket u16, uuid u64, both numbers, the uuid that was asked for u64, and the last number of its that is known, u64: 0.
    """
    bucket = exchange.bucket
    if len(request.value) != _UUID.size:
        exchange.error(request, Status.INVALID, "the value is a vbucket's uuid, 64 bits")
        return
    if request.vbucket >= bucket.vbuckets:
        not_my_vbucket(exchange, request)
        return
    (asked,) = _UUID.unpack(request.value)
    uuid, seqno = bucket.vbucket_uuid(request.vbucket), bucket.engine.seqno
    if asked == uuid:
        value = _OBSERVED.pack(0, request.vbucket, uuid, seqno, seqno)
    else:
        value = _OBSERVED_OTHER.pack(1, request.vbucket, uuid, seqno, seqno, asked, 0)
    exchange.answer(request, value=value)


def get_random_key(exchange: Exchange, request: Request) -> None:
    """Extras: a collection's id u32, or nothing for the default one. The reply is that of a get, with the key."""
    number = int.from_bytes(request.extras, "big")
    if exchange.bucket.collection(number) is None:
        unknown_collection(exchange, request, number)
        return
    exchange.later(lambda answer: _random_key(answer, prefix_of(number)))


async def _random_key(answer: Answer, prefix: bytes) -> None:
    engine, request = answer.bucket.engine, answer.request
    found = await answer.in_worker(lambda: choose_in_thread(engine, prefix))
    if found is None:
        await answer.error(Status.NOT_FOUND)
        return
    key, item = found
    shown = key if answer.session.collections else key[len(prefix) :]
    await answer.reply(
        encode_response(
            request.opcode, 0, request.opaque, key=shown, extras=_FLAGS.pack(item.flags),
            value=item.value, cas=items.shown_cas(answer.bucket, key, item.cas), datatype=item.datatype & answer.session.datatypes,
        )
    )  # fmt: skip
