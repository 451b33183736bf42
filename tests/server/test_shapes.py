"""The shape of each command's frames: which extras, and whether there is a key and a value. Anything else is refused."""

from __future__ import annotations

import pytest

from trio_spool.mcbp import MAX_KEY, Opcode, Rejected, Request, RequestDecoder, Status, encode_request, opcode_name
from trio_spool.server.protocols.binary import TABLE

NONE, OPTIONAL, REQUIRED = {0}, {0, 1}, {1}
LOOKUP, MUTATION = {3, 4}, {3, 4, 7, 8}
# The lengths of the extras, how many keys, and how many values.
SHAPES: dict[int, tuple[set[int], set[int], set[int]]] = {
    **dict.fromkeys([Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ], ({0}, REQUIRED, NONE)),
    **dict.fromkeys(
        [Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.ADDQ, Opcode.REPLACE, Opcode.REPLACEQ], ({8}, REQUIRED, OPTIONAL)
    ),
    **dict.fromkeys([Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND, Opcode.PREPENDQ], ({0}, REQUIRED, OPTIONAL)),
    **dict.fromkeys([Opcode.DELETE, Opcode.DELETEQ, Opcode.UNLOCK_KEY], ({0}, REQUIRED, NONE)),
    **dict.fromkeys(
        [Opcode.INCREMENT, Opcode.INCREMENTQ, Opcode.DECREMENT, Opcode.DECREMENTQ], ({20}, REQUIRED, NONE)
    ),
    **dict.fromkeys([Opcode.TOUCH, Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ], ({4}, REQUIRED, NONE)),
    Opcode.GET_LOCKED: ({0, 4}, REQUIRED, NONE),
    Opcode.GET_META: ({0, 1}, REQUIRED, NONE),
    **dict.fromkeys([Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT], (LOOKUP, REQUIRED, OPTIONAL)),
    **dict.fromkeys(
        [
            Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
            Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
            Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR,
        ],
        (MUTATION, REQUIRED, OPTIONAL),
    ),
    Opcode.SUBDOC_MULTI_LOOKUP: ({0, 1}, REQUIRED, OPTIONAL),
    Opcode.SUBDOC_MULTI_MUTATION: ({0, 1, 4, 5}, REQUIRED, OPTIONAL),
    **dict.fromkeys(
        [
            Opcode.QUIT, Opcode.QUITQ, Opcode.NOOP, Opcode.VERSION, Opcode.SASL_LIST_MECHS, Opcode.LIST_BUCKETS,
            Opcode.GET_COLLECTIONS_MANIFEST,
        ],
        ({0}, NONE, NONE),
    ),
    **dict.fromkeys([Opcode.FLUSH, Opcode.FLUSHQ], ({0, 4}, NONE, NONE)),
    Opcode.VERBOSITY: ({4}, NONE, NONE),
    **dict.fromkeys([Opcode.STAT, Opcode.HELLO, Opcode.GET_COLLECTION_ID, Opcode.GET_SCOPE_ID], ({0}, OPTIONAL, OPTIONAL)),
    **dict.fromkeys(
        [Opcode.SASL_AUTH, Opcode.SASL_STEP, Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET, Opcode.GET_FILE_FRAGMENT],
        ({0}, REQUIRED, OPTIONAL),
    ),
    Opcode.SELECT_BUCKET: ({0}, OPTIONAL, NONE),
    Opcode.RELEASE_SNAPSHOT: ({0}, REQUIRED, NONE),
    **dict.fromkeys(
        [
            Opcode.OBSERVE_SEQNO, Opcode.SET_COLLECTIONS_MANIFEST, Opcode.GET_ERROR_MAP, Opcode.RANGE_SCAN_CREATE,
            Opcode.PREPARE_SNAPSHOT,
        ],
        ({0}, NONE, OPTIONAL),
    ),
    Opcode.GET_CLUSTER_CONFIG: ({0, 16}, NONE, NONE),
    Opcode.GET_RANDOM_KEY: ({0, 4}, NONE, NONE),
    Opcode.GET_KEYS: ({0, 4}, OPTIONAL, NONE),
    Opcode.RANGE_SCAN_CONTINUE: ({28}, NONE, NONE),
    Opcode.RANGE_SCAN_CANCEL: ({16}, NONE, NONE),
}  # fmt: skip
# Those whose value is stored: it may not be above the limit.
STORING = {
    Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.ADDQ, Opcode.REPLACE, Opcode.REPLACEQ, Opcode.APPEND, Opcode.APPENDQ,
    Opcode.PREPEND, Opcode.PREPENDQ,
}  # fmt: skip
# Those on one item, whose key begins with that of a collection, or that go on from there.
IN_COLLECTIONS = {
    *(opcode for opcode, (_, keys, _) in SHAPES.items() if keys == REQUIRED),
    Opcode.GET_KEYS,
} - {
    Opcode.SASL_AUTH, Opcode.SASL_STEP, Opcode.CREATE_BUCKET, Opcode.DELETE_BUCKET, Opcode.GET_FILE_FRAGMENT,
    Opcode.RELEASE_SNAPSHOT,
}  # fmt: skip


def decode(frame: bytes, *, collections: bool = False, max_value: int = 100) -> Request | Rejected:
    decoder = RequestDecoder(TABLE.shapes, max_value=max_value)
    decoder.collections = collections
    decoder.receive_data(frame)
    event = decoder.next_event()
    assert isinstance(event, (Request, Rejected))
    return event


def least(opcode: int, **kwargs) -> bytes:
    extras, keys, _ = SHAPES[opcode]
    return encode_request(opcode, **{"extras": bytes(min(extras)), "key": b"k" * min(keys), **kwargs})


def test_the_table_has_every_opcode() -> None:
    assert SHAPES.keys() == set(Opcode)


@pytest.mark.parametrize("opcode", SHAPES, ids=opcode_name)
def test_what_is_taken(opcode: int) -> None:
    lengths, keys, values = SHAPES[opcode]
    for size in range(41):
        for key in (0, 1):
            for value in (0, 1):
                event = decode(encode_request(opcode, extras=bytes(size), key=b"k" * key, value=b"v" * value))
                right = size in lengths and key in keys and value in values
                assert isinstance(event, Request) == right, (size, key, value)
                if isinstance(event, Rejected):
                    assert (event.opcode, event.status, event.fatal, event.lost) == (opcode, Status.INVALID, True, False)


@pytest.mark.parametrize("opcode", SHAPES, ids=opcode_name)
def test_the_longest_key(opcode: int) -> None:
    if 1 in SHAPES[opcode][1]:
        assert isinstance(decode(least(opcode, key=b"k" * MAX_KEY)), Request)
        assert isinstance(decode(least(opcode, key=b"k" * (MAX_KEY + 1))), Rejected)


@pytest.mark.parametrize("opcode", SHAPES, ids=opcode_name)
def test_whose_values_are_limited(opcode: int) -> None:
    if 1 in SHAPES[opcode][2]:
        assert isinstance(decode(least(opcode, value=bytes(100))), Request)
        event = decode(least(opcode, value=bytes(101)))
        assert isinstance(event, Rejected) == (opcode in STORING)
        assert isinstance(event, Request) or event.too_big


@pytest.mark.parametrize("opcode", SHAPES, ids=opcode_name)
def test_whose_keys_belong_to_collections(opcode: int) -> None:
    """Only these have the default collection's id before their key where collections are not negotiated."""
    if 1 in SHAPES[opcode][1]:
        event = decode(least(opcode, key=b"key"))
        assert event.key == (b"\0key" if opcode in IN_COLLECTIONS else b"key")
        event = decode(least(opcode, key=b"\x08key"), collections=True)
        assert event.key == b"\x08key"
        assert isinstance(decode(least(opcode, key=b"\x80\x80\x80\x80\x80\x80k"), collections=True), Rejected) == (
            opcode in IN_COLLECTIONS
        )
