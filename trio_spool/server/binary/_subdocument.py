"""Sub-document lookups and mutations, with one path or several."""

from __future__ import annotations

from functools import partial
from typing import Final

from ...engine import (
    Item,
    Outcome,
    PathProblem,
    Problem,
    Step,
    StepKind,
    StepProblem,
    StepResult,
    XattrProblem,
    lookup,
)
from ...mcbp import (
    DataType,
    DocumentFlag,
    Feature,
    Opcode,
    PathFlag,
    PathSpec,
    RemoteProtocolError,
    Request,
    Status,
    SubdocumentRequest,
    encode_lookup_results,
    encode_mutation_failure,
    encode_mutation_results,
    parse_subdocument,
)
from .._exchange import Exchange
from .._jobs import Answer
from .._virtual import virtual_attributes
from ..commands import items
from ._mutation import encode_mutation
from ._storing import keeps_expiry

# A document above this is looked into by a worker thread.
LARGE: Final = 64 * 1024

_KINDS: Final[dict[int, StepKind]] = {
    Opcode.SUBDOC_GET: StepKind.GET,
    Opcode.SUBDOC_EXISTS: StepKind.EXISTS,
    Opcode.SUBDOC_GET_COUNT: StepKind.COUNT,
    Opcode.SUBDOC_DICT_ADD: StepKind.ADD,
    Opcode.SUBDOC_DICT_UPSERT: StepKind.UPSERT,
    Opcode.SUBDOC_DELETE: StepKind.REMOVE,
    Opcode.SUBDOC_REPLACE: StepKind.REPLACE,
    Opcode.SUBDOC_ARRAY_PUSH_LAST: StepKind.PUSH_LAST,
    Opcode.SUBDOC_ARRAY_PUSH_FIRST: StepKind.PUSH_FIRST,
    Opcode.SUBDOC_ARRAY_INSERT: StepKind.INSERT,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE: StepKind.ADD_UNIQUE,
    Opcode.SUBDOC_COUNTER: StepKind.COUNTER,
    Opcode.GET: StepKind.GET_DOCUMENT,
    Opcode.SET: StepKind.SET_DOCUMENT,
    Opcode.DELETE: StepKind.REMOVE_DOCUMENT,
}
_STATUS_OF: Final[dict[StepProblem, Status]] = {
    PathProblem.NOT_FOUND: Status.SUBDOC_PATH_NOT_FOUND,
    PathProblem.MISMATCH: Status.SUBDOC_PATH_MISMATCH,
    PathProblem.INVALID: Status.SUBDOC_PATH_INVALID,
    PathProblem.TOO_BIG: Status.SUBDOC_PATH_TOO_BIG,
    PathProblem.NOT_JSON: Status.SUBDOC_DOC_NOT_JSON,
    PathProblem.EXISTS: Status.SUBDOC_PATH_EXISTS,
    PathProblem.CANT_INSERT: Status.SUBDOC_VALUE_CANT_INSERT,
    PathProblem.DELTA: Status.SUBDOC_DELTA_INVALID,
    PathProblem.NUMBER_RANGE: Status.SUBDOC_NUM_RANGE,
    PathProblem.TOO_DEEP: Status.SUBDOC_DOC_TOO_DEEP,
    XattrProblem.UNKNOWN_VIRTUAL: Status.SUBDOC_XATTR_UNKNOWN_VATTR,
    XattrProblem.READ_ONLY: Status.SUBDOC_XATTR_CANT_MODIFY_VATTR,
    XattrProblem.UNKNOWN_MACRO: Status.SUBDOC_XATTR_UNKNOWN_MACRO,
    XattrProblem.KEY: Status.SUBDOC_XATTR_INVALID_KEYS,
}


def _status(result: StepResult) -> Status:
    return Status.OK if result.problem is None else _STATUS_OF[result.problem]


def _steps(asked: SubdocumentRequest) -> tuple[Step, ...]:
    return tuple(_step(spec) for spec in asked.specs)


def _step(spec: PathSpec) -> Step:
    flags = spec.flags
    return Step(
        _KINDS[spec.opcode], spec.path, spec.value,
        create=bool(flags & PathFlag.CREATE), xattr=bool(flags & PathFlag.XATTR), macros=bool(flags & PathFlag.EXPAND_MACROS),
    )  # fmt: skip


def _parse(exchange: Exchange, request: Request) -> SubdocumentRequest | None:
    try:
        asked = parse_subdocument(request.opcode, request.extras, request.value)
    except RemoteProtocolError as exc:
        exchange.error(request, exc.status_hint or Status.INVALID, str(exc))
        return None
    if Feature.XATTR not in exchange.session.features and any(spec.flags & PathFlag.XATTR for spec in asked.specs):
        exchange.error(request, Status.NOT_SUPPORTED, "extended attributes have to be negotiated with HELLO")
        return None
    return asked


def look_up(exchange: Exchange, request: Request) -> None:
    """See `parse_subdocument` for the request, and `encode_lookup_results` for the reply to one with several paths."""
    asked = _parse(exchange, request)
    if asked is None:
        return
    item = exchange.get(request.key)
    if item is not None and len(item.value) > LARGE:
        exchange.later(partial(_look_up_large, asked=asked))
    else:
        exchange.read(request, partial(_encode_lookup, asked=asked))


async def _look_up_large(answer: Answer, asked: SubdocumentRequest) -> None:
    bucket, request = answer.bucket, answer.request
    item = bucket.reader.get(request.key)
    bucket.reader.release()
    items.count_get(answer.service.counters, found=item is not None)
    frame = await answer.in_worker(lambda: _encode_found(answer.exchange, request, item, asked))
    await answer.reply(frame)


def _encode_lookup(exchange: Exchange, request: Request, item: Item | None, asked: SubdocumentRequest) -> bytes:
    items.count_get(exchange.service.counters, found=item is not None)
    return _encode_found(exchange, request, item, asked)


def _encode_found(exchange: Exchange, request: Request, item: Item | None, asked: SubdocumentRequest) -> bytes:
    session = exchange.session
    if item is None:
        return session.error(request.opcode, request.opaque, Status.NOT_FOUND)
    uuid = exchange.bucket.vbucket_uuid(request.vbucket)
    results = lookup(item, _steps(asked), virtual_attributes(item, uuid))
    cas = items.shown_cas(exchange.bucket, request.key, item.cas)
    if asked.multi:
        value = encode_lookup_results((_status(result), result.value) for result in results)
        failed = any(result.problem is not None for result in results)
        status = Status.SUBDOC_MULTI_PATH_FAILURE if failed else Status.OK
        return exchange.encode(request, status=status, value=value, cas=cas)
    (result,) = results
    if result.problem is not None:
        return session.error(request.opcode, request.opaque, _status(result))
    datatype = session.datatypes & DataType.JSON if result.value else 0
    return exchange.encode(request, value=result.value, cas=cas, datatype=datatype)


def mutate(exchange: Exchange, request: Request) -> None:
    """See `parse_subdocument` for the request; the reply has the results of those paths that return something."""
    asked = _parse(exchange, request)
    if asked is None:
        return
    operation = items.edit(
        exchange.bucket, request.key, _steps(asked), expiry=asked.expiry, keep_expiry=keeps_expiry(request),
        create=bool(asked.flags & DocumentFlag.CREATE), add=bool(asked.flags & DocumentFlag.ADD), cas=request.cas,
        max_size=exchange.service.settings.max_item_size,
    )  # fmt: skip
    exchange.operate(request, operation, partial(_encode_mutated, asked=asked))


def _encode_mutated(exchange: Exchange, request: Request, outcome: Outcome, asked: SubdocumentRequest) -> bytes:
    items.count_store(exchange.service.counters, outcome, request.cas)
    if outcome.problem is Problem.PATH:
        failed = outcome.results[-1]
        if not asked.multi:
            return exchange.session.error(request.opcode, request.opaque, _status(failed))
        value = encode_mutation_failure(len(outcome.results) - 1, _status(failed))
        return exchange.encode(request, status=Status.SUBDOC_MULTI_PATH_FAILURE, value=value)
    if outcome.problem is not None:
        return encode_mutation(exchange, request, outcome)
    returned = [(index, result.value) for index, result in enumerate(outcome.results) if result.value]
    value = encode_mutation_results(returned) if asked.multi else b"".join(value for _, value in returned)
    return encode_mutation(exchange, request, outcome, value)
