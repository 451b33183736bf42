"""Sub-document lookups and mutations, with one path or several."""

from __future__ import annotations

from functools import partial
from typing import Final

from ....engine import (
    Edit,
    Item,
    Outcome,
    PathProblem,
    Problem,
    Step,
    StepKind,
    StepProblem,
    StepResult,
    Tombstone,
    XattrProblem,
)
from ....mcbp import (
    DataType,
    DocumentFlag,
    Feature,
    Opcode,
    PathFlag,
    PathSpec,
    Request,
    Status,
    SubdocumentRequest,
    encode_lookup_results,
    encode_mutation_failure,
    encode_mutation_results,
    item_shape,
    parse_subdocument,
)
from ...commands import documents, items
from ...commands.errors import NotSupportedError
from ...conversation import READ, WRITE, Waits
from ._exchange import BinaryContext, BinaryExchange
from ._mutation import encode_mutation
from ._row import KEEPING, Command
from ._storing import keeps_expiry

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
    Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR: StepKind.DOCUMENT_FROM_XATTR,
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
    PathProblem.VALUE_TOO_DEEP: Status.SUBDOC_VALUE_TOO_DEEP,
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


def _parse(exchange: BinaryExchange, request: Request) -> SubdocumentRequest:
    asked = parse_subdocument(request.opcode, request.extras, request.value)
    if Feature.XATTR not in exchange.features.granted and any(spec.flags & PathFlag.XATTR for spec in asked.specs):
        raise NotSupportedError("extended attributes must be negotiated with HELLO first")
    return asked


def look_up(exchange: BinaryExchange, request: Request) -> None:
    """Return what is at one path of a document, or at several. A CAS in the header is a condition.

    See `parse_subdocument` for the request, and `encode_lookup_results` for the reply to one with several paths.
    """
    asked = _parse(exchange, request)
    tombstones = bool(asked.flags & DocumentFlag.ACCESS_DELETED)
    size = exchange.expected_size(request.key, tombstones=tombstones)
    if not exchange.local or size > documents.LARGE:
        exchange.later(partial(_look_up_in_worker, asked=asked))
    else:
        # Each path may be that of all there is.
        expected = request.size + size * len(asked.specs)
        exchange.read(request.key, request, expected, partial(_encode_lookup, asked=asked), tombstones=tombstones)


async def _look_up_in_worker(context: BinaryContext, asked: SubdocumentRequest) -> None:
    bucket, request = context.bucket, context.request

    def look_up_in_thread() -> tuple[bytes, bool]:
        item = bucket.read_in_thread(request.key, tombstones=bool(asked.flags & DocumentFlag.ACCESS_DELETED))
        results = None if item is None else documents.look_up_in_thread(bucket, request.vbucket, item, _steps(asked))
        return _encode_found(context.exchange, request, item, results, asked), item is not None

    frame, found = await context.in_worker(look_up_in_thread)
    items.count_get(context.shared.counters, found=found)
    await context.reply(frame)


def _encode_lookup(exchange: BinaryExchange, request: Request, item: Item | None, asked: SubdocumentRequest) -> bytes:
    items.count_get(exchange.shared.counters, found=item is not None)
    results = None if item is None else documents.look_up(exchange.bucket, request.vbucket, item, _steps(asked))
    return _encode_found(exchange, request, item, results, asked)


def _encode_found(
    exchange: BinaryExchange, request: Request, item: Item | None, results: list[StepResult] | None, asked: SubdocumentRequest
) -> bytes:
    features = exchange.features
    if item is None or results is None:
        return exchange.encode_error(request.opcode, request.opaque, Status.NOT_FOUND)
    cas = items.shown_cas(exchange.bucket, request.key, item.cas)
    if request.cas not in (0, cas):
        return features.error(request.opcode, request.opaque, Status.EXISTS)
    deleted = isinstance(item, Tombstone)
    done = Status.SUBDOC_SUCCESS_DELETED if deleted else Status.OK
    if asked.multi:
        value = encode_lookup_results((_status(result), result.value) for result in results)
        failure = Status.SUBDOC_MULTI_PATH_FAILURE_DELETED if deleted else Status.SUBDOC_MULTI_PATH_FAILURE
        status = failure if any(result.problem is not None for result in results) else done
        return exchange.encode(request, status=status, value=value, cas=cas)
    (result,) = results
    if result.problem is not None:
        return exchange.encode_error(request.opcode, request.opaque, _status(result))
    datatype = features.datatypes & DataType.JSON if result.value else 0
    return exchange.encode(request, status=done, value=result.value, cas=cas, datatype=datatype)


def mutate(exchange: BinaryExchange, request: Request) -> None:
    """Change a document at one path, or at several.

    See `parse_subdocument` for the request. The reply has the results of those paths that return something.
    """
    asked = _parse(exchange, request)
    flags = asked.flags
    operation = documents.edit(
        exchange.bucket, request.key, request.vbucket, _steps(asked), expiry=asked.expiry, keep_expiry=keeps_expiry(request),
        create=bool(flags & DocumentFlag.CREATE), add=bool(flags & DocumentFlag.ADD), cas=request.cas,
        max_size=exchange.shared.settings.max_item_size, tombstones=bool(flags & DocumentFlag.ACCESS_DELETED),
        as_tombstone=bool(flags & DocumentFlag.CREATE_AS_DELETED), revive=bool(flags & DocumentFlag.REVIVE),
    )  # fmt: skip
    size = exchange.expected_size(request.key, tombstones=operation.tombstones) + operation.size(None)
    if size > documents.LARGE:
        exchange.later(partial(_mutate_large, operation=operation, asked=asked, size=size), changes=True)
    else:
        exchange.operate(request, request.size, operation, partial(_encode_mutated, asked=asked))


async def _mutate_large(context: BinaryContext, operation: Edit, asked: SubdocumentRequest, size: int) -> None:
    outcome = Outcome(Problem.UNPLANNED)
    if not context.exchange.local:  # it is not known to be large
        (outcome,) = await context.operate([operation])
    if outcome.problem is Problem.UNPLANNED:
        with context.waiting(Waits.OTHERS):
            outcome = await documents.plan_and_operate(context.bucket, operation, context.in_worker, size, context.operate)
    await context.reply(_encode_mutated(context.exchange, context.request, outcome, asked))


def _encode_mutated(exchange: BinaryExchange, request: Request, outcome: Outcome, asked: SubdocumentRequest) -> bytes:
    items.count_store(exchange.shared.counters, outcome, request.cas)
    if outcome.problem is Problem.PATH:
        failed = outcome.results[-1]
        if not asked.multi:
            return exchange.encode_error(request.opcode, request.opaque, _status(failed))
        value = encode_mutation_failure(len(outcome.results) - 1, _status(failed))
        return exchange.encode(request, status=Status.SUBDOC_MULTI_PATH_FAILURE, value=value)
    if outcome.problem is not None:
        return encode_mutation(exchange, request, outcome)
    returned = [(index, result.value) for index, result in enumerate(outcome.results) if result.value]
    value = encode_mutation_results(returned) if asked.multi else b"".join(value for _, value in returned)
    return encode_mutation(exchange, request, outcome, value)


# Extras of a command with one path: path length u16, flags u8, and perhaps an expiry u32, and flags for the document u8.
_PATH_LOOKUP: Final = item_shape(3, 4, value=True)
_PATH_MUTATION: Final = item_shape(3, 4, 7, 8, value=True)
_LOOKUPS: Final = (Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT)
_MUTATIONS: Final = (
    Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
    Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR,
)  # fmt: skip
COMMANDS: Final = (
    *(Command(opcode, _PATH_LOOKUP, look_up, READ, reorderable=True, takes_cas=True) for opcode in _LOOKUPS),
    *(Command(opcode, _PATH_MUTATION, mutate, WRITE, reorderable=True, takes_cas=True, infos=KEEPING) for opcode in _MUTATIONS),
    Command(Opcode.SUBDOC_MULTI_LOOKUP, item_shape(0, 1, value=True), look_up, READ, reorderable=True, takes_cas=True),
    Command(
        Opcode.SUBDOC_MULTI_MUTATION,
        item_shape(0, 1, 4, 5, value=True),
        mutate,
        WRITE,
        reorderable=True,
        takes_cas=True,
        infos=KEEPING,
    ),
)
