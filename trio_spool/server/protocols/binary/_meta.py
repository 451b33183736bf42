"""Facts about items beside their values, and about vbuckets: GET_META, OBSERVE_SEQNO, GET_RANDOM_KEY."""

from __future__ import annotations

import struct
from typing import Final

from ....engine import MARKS, Item, Tombstone
from ....mcbp import DataType, Opcode, Request, Status, encode_response, item_shape, shape
from ...commands import items
from ...commands.errors import InvalidRequestError, NoCollectionError
from ...commands.keys import choose_in_thread
from ...conversation import READ
from ...data import NANOSECONDS, prefix_of
from ._exchange import BinaryContext, BinaryExchange
from ._gate import not_my_vbucket
from ._row import Command

_META = struct.Struct(">LLLQB")
_UUID = struct.Struct(">Q")
_OBSERVED = struct.Struct(">BHQQQ")
_OBSERVED_OTHER = struct.Struct(">BHQQQQQ")
_FLAGS = struct.Struct(">L")


def get_meta(exchange: BinaryExchange, request: Request) -> None:
    """Return the metadata of an item, or of a deleted document that has extended attributes.

    Extras: a version u8; 2 asks for the datatype as well. Reply's extras: deleted u32, flags u32, expiry u32, seqno u64, and
    datatype u8.
    """
    exchange.read(request.key, request, request.size, _encode_meta, tombstones=True)


def _encode_meta(exchange: BinaryExchange, request: Request, item: Item | None) -> bytes:
    if item is None:
        return exchange.encode_error(request.opcode, request.opaque, Status.NOT_FOUND)
    deleted = isinstance(item, Tombstone)
    expiry = item.cas // NANOSECONDS if deleted else item.expiry  # of a deleted document, when it was deleted
    datatype = item.datatype | (DataType.XATTR if item.xattrs else 0)
    extras = _META.pack(deleted, item.flags, min(expiry, 0xFFFFFFFF), item.seqno, datatype & ~MARKS)
    with_datatype = request.extras == b"\2"
    return exchange.encode(
        request, extras=extras if with_datatype else extras[:-1], cas=items.shown_cas(exchange.bucket, request.key, item.cas)
    )


def observe_seqno(exchange: BinaryExchange, request: Request) -> None:
    """Return the last sequence numbers of a vbucket, in memory and on disk.

    Value: the vbucket's uuid u64. Reply's value: u8 0, vbucket u16, uuid u64, sequence number on disk u64, and in memory u64. If
    the vbucket has another uuid: u8 1, vbucket u16, uuid u64, both numbers, the uuid that was asked for u64, and 0 u64: the last
    known number of that history.
    """
    bucket = exchange.bucket
    if len(request.value) != _UUID.size:
        raise InvalidRequestError(f"the value is a vbucket's uuid, of 8 bytes; got {len(request.value)}")
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


def get_random_key(exchange: BinaryExchange, request: Request) -> None:
    """Return a random item of a collection.

    Extras: the id of the collection u32, or nothing for the default one. The reply is that of a get, with the key.
    """
    number = int.from_bytes(request.extras, "big")
    if exchange.bucket.collection(number) is None:
        raise NoCollectionError(f"no collection has the id 0x{number:x}")
    exchange.later(lambda context: _random_key(context, prefix_of(number)))


async def _random_key(context: BinaryContext, prefix: bytes) -> None:
    engine, request = context.bucket.engine, context.request
    found = await context.in_worker(lambda: choose_in_thread(engine, prefix))
    if found is None:
        await context.error(Status.NOT_FOUND)
        return
    key, item = found
    shown = key if context.features.collections else key[len(prefix) :]
    await context.reply(
        encode_response(
            request.opcode, 0, request.opaque, key=shown, extras=_FLAGS.pack(item.flags),
            value=item.value, cas=items.shown_cas(context.bucket, key, item.cas), datatype=item.datatype &
            context.features.datatypes,
        )
    )  # fmt: skip


COMMANDS: Final = (
    Command(Opcode.GET_META, item_shape(0, 1), get_meta, READ, reorderable=True),
    Command(Opcode.OBSERVE_SEQNO, shape(0, value=True), observe_seqno, READ, reorderable=True, takes_cas=True),
    Command(Opcode.GET_RANDOM_KEY, shape(0, 4), get_random_key, READ, reorderable=True),
)
