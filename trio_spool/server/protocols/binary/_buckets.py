"""SELECT_BUCKET, LIST_BUCKETS, CREATE_BUCKET, DELETE_BUCKET; GET_CLUSTER_CONFIG, GET_ERROR_MAP."""

from __future__ import annotations

from typing import Final

from ....mcbp import DataType, KeyRule, Opcode, Request, error_map, shape
from ...commands import buckets
from ...commands.errors import InvalidRequestError
from ...conversation import ADMIN, ANYBODY, FREE
from ._exchange import BinaryContext, BinaryExchange
from ._row import Command


def _name(request: Request) -> str:
    return request.key.decode("utf-8", "replace")


def select_bucket(exchange: BinaryExchange, request: Request) -> None:
    """Select a bucket. To a user who may not use it, it does not exist.

    Key: the name of the bucket.
    """
    exchange.use(buckets.selectable(exchange.shared, exchange.session.user, _name(request)))
    exchange.answer(request)


def list_buckets(exchange: BinaryExchange, request: Request) -> None:
    """Return the names of the buckets that the user may use, separated by blanks."""
    exchange.answer(request, value=" ".join(buckets.names(exchange.shared, exchange.session.user)).encode())


def create_bucket(exchange: BinaryExchange, request: Request) -> None:
    """Create a bucket.

    Key: the name of the bucket. Value: its configuration, such as ``max_size=67108864;evict=none``, or nothing.
    """
    exchange.later(_create)


async def _create(context: BinaryContext) -> None:
    options = buckets.parse_config(context.request.value.decode("utf-8", "replace"))
    await buckets.create(context.shared, _name(context.request), options)
    await context.reply(context.encode())


def delete_bucket(exchange: BinaryExchange, request: Request) -> None:
    """Delete a bucket. Connections that have selected it are closed.

    Key: the name of the bucket. Value: ignored.
    """
    exchange.later(_delete)


async def _delete(context: BinaryContext) -> None:
    await buckets.delete(context.shared, _name(context.request), context.connection)
    await context.reply(context.encode())


def get_cluster_config(exchange: BinaryExchange, request: Request) -> None:
    """Return the configuration of the selected bucket, or of the cluster, as JSON.

    Extras: a version, ignored.
    """
    exchange.answer(request, value=exchange.cluster_config(), datatype=DataType.JSON)


def get_error_map(exchange: BinaryExchange, request: Request) -> None:
    """Return the meaning of every status, as JSON.

    Value: the newest version that the client understands, u16.
    """
    if len(request.value) != 2:
        raise InvalidRequestError(f"the version has 2 bytes; got {len(request.value)}")
    version = int.from_bytes(request.value, "big")
    if version < 1:
        raise InvalidRequestError("the first version is 1; got 0")
    exchange.answer(request, value=error_map(version), datatype=DataType.JSON)


COMMANDS: Final = (
    Command(Opcode.SELECT_BUCKET, shape(0, key=KeyRule.OPTIONAL), select_bucket, ANYBODY, changes_session=True, takes_cas=True),
    Command(Opcode.LIST_BUCKETS, shape(0), list_buckets, ANYBODY, takes_cas=True),
    Command(Opcode.CREATE_BUCKET, shape(0, key=KeyRule.REQUIRED, value=True), create_bucket, ADMIN, takes_cas=True),
    Command(Opcode.DELETE_BUCKET, shape(0, key=KeyRule.REQUIRED, value=True), delete_bucket, ADMIN, takes_cas=True),
    Command(Opcode.GET_CLUSTER_CONFIG, shape(0, 16), get_cluster_config, ANYBODY),
    Command(Opcode.GET_ERROR_MAP, shape(0, value=True), get_error_map, FREE),
)
