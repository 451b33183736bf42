"""PREPARE_SNAPSHOT, GET_FILE_FRAGMENT, RELEASE_SNAPSHOT."""

from __future__ import annotations

import json
import os
import time

import trio

from ...engine import EngineError, NoFilesError
from ...mcbp import (
    DataType,
    FragmentRequest,
    RemoteProtocolError,
    Request,
    Status,
    parse_fragment_request,
)
from .._exchange import Exchange
from .._files import TooManyFileSnapshotsError, fragment_in_thread
from .._jobs import Answer
from ._gate import not_my_vbucket


def prepare_snapshot(exchange: Exchange, request: Request) -> None:
    """Value: a JSON object, of which nothing is needed here, or nothing. Reply: the manifest, JSON."""
    try:
        valid = not request.value or isinstance(json.loads(request.value), dict)
    except (ValueError, RecursionError):
        valid = False
    if request.vbucket >= exchange.bucket.vbuckets:
        not_my_vbucket(exchange, request)
    elif not valid:
        exchange.error(request, Status.INVALID, "the value must be a JSON object")
    else:
        exchange.later(_prepare)


async def _prepare(answer: Answer) -> None:
    service = answer.service
    files, engine = service.files, answer.bucket.engine
    try:
        snapshot = files.begin(answer.bucket.uuid, engine.seqno)
    except TooManyFileSnapshotsError as exc:
        await answer.error(Status.TEMPORARY_FAILURE, str(exc))
        return
    answer.key = snapshot.uuid
    status, reason = Status.OK, ""
    try:
        snapshot.files = await answer.in_worker(
            lambda: engine.copy_files(snapshot.directory, trio.from_thread.check_cancelled), service.copiers
        )
        snapshot.used = time.monotonic()
    except NoFilesError as exc:
        status, reason = Status.NOT_SUPPORTED, str(exc)
    except EngineError as exc:
        status, reason = Status.TEMPORARY_FAILURE, str(exc)
    except OSError as exc:
        status, reason = Status.TEMPORARY_FAILURE, f"can't write the copy: {os.strerror(exc.errno or 0).lower()}"
    finally:
        if not snapshot.files:
            files.forget(snapshot)
            await service.remove([snapshot])
    if not snapshot.files:
        service.log.warning("snapshot failed", reason=reason)
        await answer.error(status, reason)
        return
    files.prepared += 1
    manifest = json.dumps(snapshot.manifest()).encode()
    await answer.reply(answer.encode(value=manifest, datatype=DataType.JSON))


def get_file_fragment(exchange: Exchange, request: Request) -> None:
    """Key: the snapshot's uuid. Value: see `parse_fragment_request`. Reply: the bytes, with checksums if they were asked for."""
    try:
        wanted = parse_fragment_request(request.value)
    except RemoteProtocolError as exc:
        exchange.error(request, exc.status_hint or Status.INVALID, str(exc))
        return
    exchange.later(lambda answer: _fragment(answer, wanted))


async def _fragment(answer: Answer, wanted: FragmentRequest) -> None:
    request = answer.request
    snapshot = answer.service.files.find(answer.key, answer.bucket.uuid)
    file = snapshot.file(wanted.id) if snapshot is not None else None
    if snapshot is None:
        await answer.error(Status.NOT_FOUND, f"there is no snapshot {answer.key!r}: it was released, or nobody asked for it")
    elif file is None:
        await answer.error(Status.NOT_FOUND, f"the snapshot has no file {wanted.id}")
    elif wanted.offset + wanted.length > file.size:
        await answer.error(Status.INVALID, f"{file.name} ends at {file.size}, before {wanted.offset + wanted.length}")
    else:
        snapshot.readers += 1
        try:
            await answer.spool_whole(fragment_in_thread(snapshot.directory / file.name, wanted, request.opaque))
        finally:
            snapshot.readers -= 1
            answer.service.files.find(snapshot.uuid, snapshot.bucket)  # in use until now


def release_snapshot(exchange: Exchange, request: Request) -> None:
    """Key: the snapshot's uuid. Fragments that are being sent may fail, which ends their connections."""
    exchange.later(_release)


async def _release(answer: Answer) -> None:
    service = answer.service
    snapshot = service.files.find(answer.key, answer.bucket.uuid)
    if snapshot is None:
        await answer.error(Status.NOT_FOUND, f"there is no snapshot {answer.key!r}")
        return
    service.files.forget(snapshot)
    await service.remove([snapshot])
    await answer.reply(answer.encode())
