"""Sub-document requests: what parses, what does not, and with which status that is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.mcbp import (
    DocumentFlag,
    Opcode,
    PathFlag,
    PathSpec,
    RemoteProtocolError,
    Status,
    SubdocumentRequest,
    encode_lookup_results,
    encode_mutation_failure,
    encode_mutation_results,
    parse_subdocument,
)
from trio_spool.server.protocols.binary import TABLE

LOOKUPS = (Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT)
MUTATIONS = (
    Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
    Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER,
)  # fmt: skip
LOOKUP, MUTATION = Opcode.SUBDOC_MULTI_LOOKUP, Opcode.SUBDOC_MULTI_MUTATION
ALL = (*LOOKUPS, *MUTATIONS, LOOKUP, MUTATION)
CREATE, XATTR, MACROS = PathFlag.CREATE, PathFlag.XATTR, PathFlag.EXPAND_MACROS


def lookup(opcode: int, path: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">BBH", opcode, flags, len(path)) + path


def mutation(opcode: int, path: bytes = b"", value: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">BBHL", opcode, flags, len(path), len(value)) + path + value


def refused(opcode: int, extras: bytes, value: bytes) -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_subdocument(opcode, extras, value)
    assert str(caught.value)
    assert caught.value.status_hint is not None
    return caught.value.status_hint


# One path


@pytest.mark.parametrize("opcode", LOOKUPS)
def test_a_lookup(opcode: int) -> None:
    spec = PathSpec(opcode, 0, b"a.b")
    assert parse_subdocument(opcode, b"\0\3\0", b"a.b") == SubdocumentRequest((spec,))
    assert parse_subdocument(opcode, b"\0\3\0\4", b"a.b") == SubdocumentRequest((spec,), flags=4)
    assert parse_subdocument(opcode, b"\0\0\4", b"").specs == (PathSpec(opcode, XATTR, b""),)
    assert refused(opcode, b"\0\2\0", b"a.b") == Status.INVALID
    assert refused(opcode, b"\0\4\0", b"a.b") == Status.INVALID


@pytest.mark.parametrize("opcode", MUTATIONS)
def test_a_mutation(opcode: int) -> None:
    spec = PathSpec(opcode, CREATE, b"a", b"12")
    for more, expiry, flags in ((b"", None, 0), (b"\4", None, 4), (b"\0\0\1\0", 256, 0), (b"\0\0\0\0\x14", 0, 0x14)):
        parsed = parse_subdocument(opcode, b"\0\1\1" + more, b"a12")
        assert parsed == SubdocumentRequest((spec,), expiry, flags)
    assert parse_subdocument(opcode, b"\0\3\0", b"a12").specs == (PathSpec(opcode, 0, b"a12", b""),)
    assert refused(opcode, b"\0\4\0", b"a12") == Status.INVALID


# Several


def test_several_lookups() -> None:
    value = lookup(Opcode.SUBDOC_GET, b"$document", XATTR) + lookup(Opcode.SUBDOC_EXISTS, b"a") + lookup(Opcode.GET)
    specs = (
        PathSpec(Opcode.SUBDOC_GET, XATTR, b"$document"),
        PathSpec(Opcode.SUBDOC_EXISTS, 0, b"a"),
        PathSpec(Opcode.GET, 0, b""),
    )
    assert parse_subdocument(LOOKUP, b"", value) == SubdocumentRequest(specs, multi=True)
    assert parse_subdocument(LOOKUP, b"\4", value) == SubdocumentRequest(specs, flags=4, multi=True)


def test_several_mutations() -> None:
    value = mutation(Opcode.SUBDOC_DICT_UPSERT, b"x", b"1", XATTR | CREATE) + mutation(Opcode.SET, b"", b"{}")
    specs = (PathSpec(Opcode.SUBDOC_DICT_UPSERT, XATTR | CREATE, b"x", b"1"), PathSpec(Opcode.SET, 0, b"", b"{}"))
    for extras, expiry, flags in ((b"", None, 0), (b"\1", None, 1), (b"\0\0\0\7", 7, 0), (b"\0\0\0\7\2", 7, 2)):
        assert parse_subdocument(MUTATION, extras, value) == SubdocumentRequest(specs, expiry, flags, multi=True)


@pytest.mark.parametrize("count", [1, 16])
def test_as_many_paths_as_may_be(count: int) -> None:
    assert len(parse_subdocument(LOOKUP, b"", lookup(Opcode.SUBDOC_GET, b"a") * count).specs) == count
    assert len(parse_subdocument(MUTATION, b"", mutation(Opcode.SUBDOC_DELETE, b"a") * count).specs) == count


@pytest.mark.parametrize("count", [0, 17, 1000])
def test_too_few_and_too_many(count: int) -> None:
    assert refused(LOOKUP, b"", lookup(Opcode.SUBDOC_GET, b"a") * count) == Status.SUBDOC_INVALID_COMBO
    assert refused(MUTATION, b"", mutation(Opcode.SUBDOC_DELETE, b"a") * count) == Status.SUBDOC_INVALID_COMBO


def test_cut_off_anywhere() -> None:
    for opcode, whole in (
        (LOOKUP, lookup(Opcode.SUBDOC_GET, b"path")),
        (MUTATION, mutation(Opcode.SUBDOC_REPLACE, b"path", b"17")),
    ):
        for end in range(1, len(whole)):
            assert refused(opcode, b"", whole[:end]) == Status.INVALID
            assert refused(opcode, b"", whole + whole[:end]) == Status.INVALID


# Rules


@pytest.mark.parametrize("opcode", [Opcode.SET, Opcode.DELETE, Opcode.SUBDOC_COUNTER, LOOKUP, MUTATION, 0x77])
def test_what_looks_nothing_up(opcode: int) -> None:
    assert refused(LOOKUP, b"", lookup(opcode)) == Status.SUBDOC_INVALID_COMBO


@pytest.mark.parametrize("opcode", [Opcode.GET, Opcode.ADD, *LOOKUPS, LOOKUP, MUTATION, 0x77])
def test_what_changes_nothing(opcode: int) -> None:
    assert refused(MUTATION, b"", mutation(opcode)) == Status.SUBDOC_INVALID_COMBO


def test_flags_of_the_document() -> None:
    for flags in (DocumentFlag.CREATE, DocumentFlag.ADD):
        assert parse_subdocument(MUTATION, bytes([flags]), mutation(Opcode.SET)).flags == flags
    for unknown in (0x20, 0x40, 0x80):
        assert refused(MUTATION, bytes([unknown]), mutation(Opcode.SET)) == Status.NOT_SUPPORTED
        assert refused(LOOKUP, bytes([unknown]), lookup(Opcode.GET)) == Status.NOT_SUPPORTED
    assert refused(MUTATION, b"\3", mutation(Opcode.SET)) == Status.INVALID


def test_flags_of_a_path() -> None:
    for unknown in (2, 8, 0x20, 0x80):
        assert refused(LOOKUP, b"", lookup(Opcode.SUBDOC_GET, b"a", unknown)) == Status.INVALID
    assert refused(LOOKUP, b"", lookup(Opcode.SUBDOC_GET, b"a", MACROS)) == Status.SUBDOC_XATTR_INVALID_FLAGS
    assert refused(Opcode.SUBDOC_GET, b"\0\1\x10", b"a") == Status.SUBDOC_XATTR_INVALID_FLAGS
    parsed = parse_subdocument(MUTATION, b"", mutation(Opcode.SUBDOC_DICT_ADD, b"a", b"1", XATTR | MACROS | CREATE))
    assert parsed.specs[0].flags == XATTR | MACROS | CREATE


def test_the_whole_document_has_no_path() -> None:
    for opcode, encode, kinds in ((LOOKUP, lookup, (Opcode.GET,)), (MUTATION, mutation, (Opcode.SET, Opcode.DELETE))):
        for kind in kinds:
            assert refused(opcode, b"", encode(kind, b"a")) == Status.INVALID
            assert refused(opcode, b"", encode(kind, flags=XATTR)) == Status.INVALID


def test_attributes_come_first() -> None:
    attribute, document = lookup(Opcode.SUBDOC_GET, b"x", XATTR), lookup(Opcode.SUBDOC_GET, b"a")
    assert len(parse_subdocument(LOOKUP, b"", attribute * 2 + document * 2).specs) == 4
    assert refused(LOOKUP, b"", document + attribute) == Status.SUBDOC_INVALID_COMBO
    assert refused(LOOKUP, b"", lookup(Opcode.GET) + attribute) == Status.SUBDOC_INVALID_COMBO


# Any bytes

flags_of_paths = st.one_of(st.sampled_from([0, 1, 4, 5, 0x14]), st.integers(0, 255))
some_opcodes = st.one_of(st.sampled_from([*ALL, Opcode.GET, Opcode.SET, Opcode.DELETE]), st.integers(0, 255))
paths = st.binary(max_size=12)
plausible = st.one_of(
    st.lists(st.builds(lookup, some_opcodes, paths, flags_of_paths), max_size=18),
    st.lists(st.builds(mutation, some_opcodes, paths, st.binary(max_size=12), flags_of_paths), max_size=18),
).map(b"".join)


@given(st.data(), st.sampled_from(ALL), st.one_of(st.binary(max_size=100), plausible, st.tuples(plausible, paths).map(b"".join)))
def test_parses_or_raises_the_remote_error(data, opcode: int, value: bytes) -> None:
    shape = TABLE.shapes[opcode]
    assert shape is not None
    size = data.draw(st.sampled_from(sorted(shape.extras)))
    extras = data.draw(st.one_of(st.binary(min_size=size, max_size=size), st.just(bytes(size))))
    try:
        parsed = parse_subdocument(opcode, extras, value)
    except RemoteProtocolError as exc:
        assert exc.status_hint in (
            Status.INVALID, Status.NOT_SUPPORTED, Status.SUBDOC_INVALID_COMBO, Status.SUBDOC_XATTR_INVALID_FLAGS
        )  # fmt: skip
        return
    assert 1 <= len(parsed.specs) <= 16
    assert parsed.multi == (opcode in (LOOKUP, MUTATION))
    # Nothing is lost.
    if opcode == LOOKUP:
        assert b"".join(lookup(spec.opcode, spec.path, spec.flags) for spec in parsed.specs) == value
    elif opcode == MUTATION:
        assert b"".join(mutation(spec.opcode, spec.path, spec.value, spec.flags) for spec in parsed.specs) == value
    else:
        assert parsed.specs[0].path + parsed.specs[0].value == value


# Replies


def test_replies() -> None:
    assert encode_lookup_results([]) == b""
    assert encode_lookup_results([(0, b"17"), (Status.SUBDOC_PATH_NOT_FOUND, b"")]) == bytes.fromhex(
        "0000000000023137 00c000000000"
    )
    assert encode_mutation_results([]) == b""
    assert encode_mutation_results([(1, b"5"), (15, b"-12")]) == bytes.fromhex("0100000000000135 0f0000000000032d3132")
    assert encode_mutation_failure(3, Status.SUBDOC_PATH_EXISTS) == bytes.fromhex("0300c9")
