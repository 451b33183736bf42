"""Sub-document commands, which work on one path or several paths within a document.

The extras of a command on one path are the length of the path u16, flags u8, and optionally an expiry u32 and flags u8 for the
document. Its value is the path, and the new value. The value of a multi lookup is repeated::

    u8 opcode, u8 flags, u16 path length, path

and that of a multi mutation::

    u8 opcode, u8 flags, u16 path length, u32 value length, path, value

Its extras are an expiry u32 or flags u8 for the document, or both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntFlag
from typing import Final

import attrs

from ._errors import RemoteProtocolError
from ._opcodes import Opcode
from ._status import Status

# The maximum number of paths in one frame: Couchbase's.
MAX_PATHS: Final = 16
_SINGLE = struct.Struct(">HB")
_LOOKUP = struct.Struct(">BBH")
_MUTATION = struct.Struct(">BBHL")
_LOOKUP_RESULT = struct.Struct(">HL")
_EXPIRY = struct.Struct(">L")


class PathFlag(IntFlag):
    """The flags of a path."""

    CREATE = 0x01
    XATTR = 0x04
    EXPAND_MACROS = 0x10


class DocumentFlag(IntFlag):
    """The flags of the document."""

    CREATE = 0x01
    ADD = 0x02
    ACCESS_DELETED = 0x04
    CREATE_AS_DELETED = 0x08
    REVIVE = 0x10


@attrs.frozen
class PathSpec:
    """An operation on one path.

    Attributes:
        opcode: The opcode of the command on one path; or, among several paths, GET, SET or DELETE for the whole document.
        flags: The flags of the path: see `PathFlag`.
        path: The path.
        value: The new value, if the operation needs one.
    """

    opcode: int
    flags: int
    path: bytes
    value: bytes = b""


@attrs.frozen
class SubdocumentRequest:
    """The request of a sub-document command.

    Attributes:
        specs: The operations, one for each path.
        expiry: The new expiry, as the client sent it, or None if it sent none.
        flags: The flags of the document: see `DocumentFlag`.
        multi: Whether the command is one for several paths.
    """

    specs: tuple[PathSpec, ...]
    expiry: int | None = None
    flags: int = 0
    multi: bool = False


_LOOKUPS = frozenset({Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT})
_MULTI_LOOKUPS = _LOOKUPS | {Opcode.GET}
_MULTI_MUTATIONS = frozenset(
    {
        Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
        Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
        Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR, Opcode.SET, Opcode.DELETE,
    }
)  # fmt: skip
# The flags for the document with which a path's operation makes sense, as in Couchbase.
_ON_DELETED: Final = int(DocumentFlag.ACCESS_DELETED | DocumentFlag.REVIVE)
_MAKING: Final = int(DocumentFlag.CREATE | DocumentFlag.ADD | DocumentFlag.CREATE_AS_DELETED)
_DOCUMENT_FLAGS: Final[dict[int, int]] = {
    **dict.fromkeys(_MULTI_LOOKUPS, int(DocumentFlag.ACCESS_DELETED)),
    **dict.fromkeys(_MULTI_MUTATIONS, _ON_DELETED | _MAKING),
    Opcode.SET: int(DocumentFlag.CREATE | DocumentFlag.ADD),
    Opcode.SUBDOC_REPLACE: int(_ON_DELETED | DocumentFlag.ADD),
    Opcode.SUBDOC_ARRAY_INSERT: int(_ON_DELETED | DocumentFlag.ADD | DocumentFlag.CREATE_AS_DELETED),
    **dict.fromkeys((Opcode.DELETE, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR), _ON_DELETED),
}
_ALL_PATH_FLAGS: Final = int(PathFlag.CREATE | PathFlag.XATTR | PathFlag.EXPAND_MACROS)
_ALL_DOCUMENT_FLAGS: Final = _ON_DELETED | _MAKING


def _invalid(reason: str, status: Status = Status.INVALID) -> RemoteProtocolError:
    return RemoteProtocolError(reason, status_hint=status)


def parse_subdocument(opcode: int, extras: bytes, value: bytes) -> SubdocumentRequest:
    """Parse the frame of a sub-document command.

    Args:
        opcode: The opcode.
        extras: The extras, which must have one of the lengths that the opcode allows.
        value: The value.

    Raises:
        RemoteProtocolError: The frame breaks a rule. `status_hint` is the status to reply with.
    """
    if opcode == Opcode.SUBDOC_MULTI_LOOKUP:
        request = SubdocumentRequest(tuple(_lookups(value)), flags=extras[0] if extras else 0, multi=True)
    elif opcode == Opcode.SUBDOC_MULTI_MUTATION:
        expiry, flags = _options(extras)
        request = SubdocumentRequest(tuple(_mutations(value)), expiry, flags, multi=True)
    else:
        length, path_flags = _SINGLE.unpack_from(extras)
        if length > len(value):
            raise _invalid(f"the path has {length} bytes, but the value only {len(value)}")
        if opcode in _LOOKUPS and length != len(value):
            raise _invalid("a lookup can't have a value after the path")
        rest = extras[_SINGLE.size :]
        expiry, flags = (None, rest[0]) if len(rest) == 1 else _options(rest)
        request = SubdocumentRequest((PathSpec(opcode, path_flags, value[:length], value[length:]),), expiry, flags)
    _check(request)
    return request


def _options(extras: bytes) -> tuple[int | None, int]:
    expiry = _EXPIRY.unpack_from(extras)[0] if len(extras) >= _EXPIRY.size else None
    flags = extras[-1] if len(extras) in (1, _EXPIRY.size + 1) else 0
    return expiry, flags


def _lookups(value: bytes) -> Iterable[PathSpec]:
    offset = 0
    while offset < len(value):
        if len(value) - offset < _LOOKUP.size:
            raise _invalid("a path is cut off")
        opcode, flags, length = _LOOKUP.unpack_from(value, offset)
        offset += _LOOKUP.size
        path = value[offset : offset + length]
        offset += length
        if offset > len(value):
            raise _invalid("a path is cut off")
        if opcode not in _MULTI_LOOKUPS:
            raise _invalid(f"opcode 0x{opcode:02x} is not a lookup", Status.SUBDOC_INVALID_COMBO)
        yield PathSpec(opcode, flags, path)


def _mutations(value: bytes) -> Iterable[PathSpec]:
    offset = 0
    while offset < len(value):
        if len(value) - offset < _MUTATION.size:
            raise _invalid("a path is cut off")
        opcode, flags, path_length, value_length = _MUTATION.unpack_from(value, offset)
        offset += _MUTATION.size
        middle = offset + path_length
        path, new = value[offset:middle], value[middle : middle + value_length]
        offset = middle + value_length
        if offset > len(value):
            raise _invalid("a path or its value is cut off")
        if opcode not in _MULTI_MUTATIONS:
            raise _invalid(f"opcode 0x{opcode:02x} is not a mutation", Status.SUBDOC_INVALID_COMBO)
        yield PathSpec(opcode, flags, path, new)


def _check(request: SubdocumentRequest) -> None:
    if not 1 <= len(request.specs) <= MAX_PATHS:
        raise _invalid(f"a frame must have 1 to {MAX_PATHS} paths, not {len(request.specs)}", Status.SUBDOC_INVALID_COMBO)
    if request.flags & ~_ALL_DOCUMENT_FLAGS:
        raise _invalid(f"unknown flags for the document: 0x{request.flags:02x}", Status.NOT_SUPPORTED)
    if request.flags:
        _check_document_flags(request)
    in_document = False
    for spec in request.specs:
        if spec.flags & ~_ALL_PATH_FLAGS:
            raise _invalid(f"unknown flags for a path: 0x{spec.flags:02x}")
        xattr = bool(spec.flags & PathFlag.XATTR)
        if spec.flags & PathFlag.EXPAND_MACROS and not xattr:
            raise _invalid("macros can be expanded only in extended attributes", Status.SUBDOC_XATTR_INVALID_FLAGS)
        if spec.opcode in (Opcode.GET, Opcode.SET, Opcode.DELETE) and (spec.path or xattr):
            raise _invalid("a command on the whole document can't have a path")
        if spec.opcode == Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR and (spec.value or not xattr):
            raise _invalid("the document can be replaced only by the value of an extended attribute, at a path in the attributes")
        if xattr and in_document:
            raise _invalid("paths in extended attributes must come before those in the document", Status.SUBDOC_INVALID_COMBO)
        in_document = in_document or not xattr


def _check_document_flags(request: SubdocumentRequest) -> None:
    flags = request.flags
    if flags & DocumentFlag.CREATE and flags & DocumentFlag.ADD:
        raise _invalid("the flags to add the document and to create it if it is missing can't be combined")
    if flags & DocumentFlag.REVIVE and (flags & DocumentFlag.CREATE_AS_DELETED or not flags & DocumentFlag.ACCESS_DELETED):
        raise _invalid("the flag to revive a document needs the one to access deleted ones, and not the one to create it deleted")
    for spec in request.specs:
        if other := flags & ~_DOCUMENT_FLAGS[spec.opcode]:
            raise _invalid(f"the flags 0x{other:02x} for the document can't be used with opcode 0x{spec.opcode:02x}")
    if flags & DocumentFlag.CREATE_AS_DELETED and not request.multi:
        if not flags & (DocumentFlag.CREATE | DocumentFlag.ADD):
            raise _invalid("the flag to create the document as a deleted one needs the flag to create or to add it")
        if not request.specs[0].flags & PathFlag.XATTR:
            raise _invalid("a document that is created as a deleted one can have only extended attributes")


def encode_lookup_results(results: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode the value of the response to a multi lookup: for each path, status u16, value length u32, value."""
    return b"".join([_LOOKUP_RESULT.pack(status, len(value)) + value for status, value in results])


def encode_mutation_results(results: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode the value of the response to a successful multi mutation: repeated index u8, status u16, value length u32, value.

    Args:
        results: The index of each path that returns a value, and the value.
    """
    return b"".join([struct.pack(">BHL", index, Status.OK, len(value)) + value for index, value in results])


def encode_mutation_failure(index: int, status: int) -> bytes:
    """Encode the value of the response to a failed multi mutation: the index of the path that failed, and its status."""
    return struct.pack(">BH", index, status)
