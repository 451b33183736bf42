"""SELECT_BUCKET, LIST_BUCKETS, CREATE_BUCKET, DELETE_BUCKET; GET_CLUSTER_CONFIG, GET_ERROR_MAP."""

from __future__ import annotations

from ...engine import EngineError
from ...mcbp import DataType, Request, Status, error_map
from .._buckets import BucketError, BucketExistsError, NoBucketError
from .._exchange import Exchange
from .._jobs import Answer


def select_bucket(exchange: Exchange, request: Request) -> None:
    """Key: the bucket's name. One that the user may not use does not exist for him."""
    session = exchange.session
    name = request.key.decode("utf-8", "replace")
    bucket = exchange.service.buckets.get(name)
    if bucket is None or session.user is None or not session.user.may_use(name):
        exchange.error(request, Status.NO_ACCESS, f"there is no bucket {name!r:.120} for this user")
    else:
        exchange.use(bucket)
        exchange.answer(request)


def list_buckets(exchange: Exchange, request: Request) -> None:
    """Reply with the names of the buckets that the user may use, separated by blanks."""
    user = exchange.session.user
    names = sorted(bucket.name for bucket in exchange.service.buckets if user is not None and user.may_use(bucket.name))
    exchange.answer(request, value=" ".join(names).encode())


def create_bucket(exchange: Exchange, request: Request) -> None:
    """Key: the bucket's name. Value: is not looked at."""
    exchange.later(_create)


async def _create(answer: Answer) -> None:
    try:
        await answer.service.buckets.create(answer.request.key.decode("utf-8", "replace"))
    except BucketError as exc:
        await answer.error(Status.EXISTS if isinstance(exc, BucketExistsError) else Status.INVALID, str(exc))
    except EngineError as exc:
        await answer.error(Status.TEMPORARY_FAILURE, str(exc))
    else:
        await answer.reply(answer.encode())


def delete_bucket(exchange: Exchange, request: Request) -> None:
    """Key: the bucket's name. Value: is not looked at. Connections that have selected it are closed."""
    exchange.later(_delete)


async def _delete(answer: Answer) -> None:
    service = answer.service
    try:
        await service.buckets.delete(
            answer.request.key.decode("utf-8", "replace"), lambda bucket: service.leave(bucket, answer.connection)
        )
    except BucketError as exc:
        await answer.error(Status.NOT_FOUND if isinstance(exc, NoBucketError) else Status.INVALID, str(exc))
    else:
        await answer.reply(answer.encode())


def get_cluster_config(exchange: Exchange, request: Request) -> None:
    """Reply with the configuration, JSON: that of the selected bucket, or of the cluster. Extras: a version, not looked at."""
    exchange.answer(request, value=exchange.cluster_config(), datatype=DataType.JSON)


def get_error_map(exchange: Exchange, request: Request) -> None:
    """Value: the newest version that the client understands, u16. Reply: JSON."""
    if len(request.value) != 2:
        exchange.error(request, Status.INVALID, "the version is 16 bits")
        return
    version = int.from_bytes(request.value, "big")
    if version < 1:
        exchange.error(request, Status.INVALID, "the versions begin with 1")
        return
    exchange.answer(request, value=error_map(version), datatype=DataType.JSON)
