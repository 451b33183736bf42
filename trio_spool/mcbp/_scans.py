"""Range scans: requests for them, and the packing of documents and keys.

The value of RANGE_SCAN_CREATE is a JSON object::

    {"range": {"start" or "excl_start": base64, "end" or "excl_end": base64}}   or   {"sampling": {"samples": n, "seed": n}}
    "collection": hexadecimal   "key_only": boolean   "name": at most 50 bytes
    "snapshot_requirements": {"vb_uuid": decimal text, "seqno": n, "seqno_exists": boolean, "timeout_ms": n}

A packed document::

    u32 flags, u32 expiry, u64 seqno, u64 CAS, u8 datatype, LEB128 key length, key, LEB128 value length, value

A packed key is a LEB128 length and the key.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import attrs

from ._errors import RemoteProtocolError
from ._frames import HEADER, MAX_KEY
from ._leb128 import decode_leb128, encode_leb128
from ._opcodes import Magic, Opcode
from ._status import Status

# The maximum length of a create's JSON, in bytes. It holds two keys and a few numbers: picked, not measured.
MAX_CREATE = 16 * 1024
# The maximum length of a scan's name, in bytes: Couchbase's.
MAX_NAME = 50
# The vbucket in a create that scans all vbuckets. No vbucket has this number, so a server that can't do this refuses the create.
ALL_VBUCKETS = 0xFFFF
# The extras of RANGE_SCAN_CONTINUE: the scan's uuid, and the limits of items, of milliseconds and of bytes, each 0 for no limit.
CONTINUE = struct.Struct(">16sLLL")
# The extras of a frame that carries keys, and of one that carries documents.
KEYS_EXTRAS = bytes(4)
DOCUMENTS_EXTRAS = b"\0\0\0\1"

_META = struct.Struct(">LLQQB")
_MAX_EXPIRY = 0xFFFFFFFF
_PAIR = struct.Struct(">L")
# How many lengths are encoded in advance, since most documents are shorter than this: picked, not measured.
_LENGTHS = 1 << 11
# How much longer than a key a bound of a range may be, in bytes: the end of a prefix's range may be longer than any key.
_BOUND_EXCESS = 6
_LEB128 = tuple(encode_leb128(number) for number in range(_LENGTHS))


class Document(NamedTuple):
    """A document of a scan. In a scan of keys, the value is empty, and the numbers are 0."""

    key: bytes
    value: bytes
    flags: int
    expiry: int
    datatype: int
    cas: int
    seqno: int


@attrs.frozen(kw_only=True)
class SnapshotRequirements:
    """The requirements on a scan's snapshot.

    Attributes:
        vbucket_uuid: The uuid that the vbucket must have.
        seqno: The sequence number that the snapshot must reach.
        seqno_exists: Whether a document must still have exactly this sequence number.
        timeout: How long to wait until the sequence number is reached, in seconds.
    """

    vbucket_uuid: int
    seqno: int
    seqno_exists: bool = False
    timeout: float = 0.0


@attrs.frozen(kw_only=True)
class ScanRequest:
    """A request for a scan, as RANGE_SCAN_CREATE carries it.

    Attributes:
        start: The first key of the range.
        end: The first key after the range, or None for no end.
        samples: The expected number of documents of a random sample, or None for all documents of the range.
        seed: The seed of the random sample.
        collection: The id of the collection.
        keys_only: Whether to send only the keys.
        include_xattrs: Whether to send extended attributes before the documents that have some.
        name: The name that the client gives the scan.
        requirements: The requirements on the snapshot, or None for none.
    """

    start: bytes = b""
    end: bytes | None = None
    samples: int | None = None
    seed: int = 0
    collection: int = 0
    keys_only: bool = False
    include_xattrs: bool = False
    name: str = ""
    requirements: SnapshotRequirements | None = None


def _invalid(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(reason, status_hint=Status.INVALID)


def _field(container: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value: Any = container.get(name, default)
    if value is default:
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _invalid(f"{name!r} must be of type {kind.__name__}, not {value!r:.40}")
    if isinstance(value, int) and not 0 <= value < 1 << 64:
        raise _invalid(f"{name!r} is out of range: {value}")
    return value


def _number_in_text(container: dict[str, Any], name: str, base: int, maximum: int) -> int:
    text = _field(container, name, str)
    number = -1
    try:
        if text.isalnum() and text.isascii():
            number = int(text, base)
    except (ValueError, AttributeError):
        pass
    if not 0 <= number <= maximum:
        raise _invalid(f"{name!r} must be a number in a string, not {text!r:.40}")
    return number


def _bound(limits: dict[str, Any], inclusive: str, exclusive: str) -> tuple[bytes, bool]:
    """Return a bound of a range, and whether it is exclusive."""
    if (inclusive in limits) == (exclusive in limits):
        raise _invalid(f"a range must have either {inclusive!r} or {exclusive!r}")
    name = inclusive if inclusive in limits else exclusive
    try:
        key = base64.b64decode(_field(limits, name, str, ""), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"{name!r} must be base64, not {limits[name]!r:.40}") from None
    if len(key) > MAX_KEY + _BOUND_EXCESS:
        raise _invalid(f"{name!r} has {len(key)} bytes, but a key has at most {MAX_KEY}")
    return key, name == exclusive


def parse_scan_request(value: bytes) -> ScanRequest:
    """Parse the value of RANGE_SCAN_CREATE. Unknown fields are ignored.

    Raises:
        RemoteProtocolError: The value is not valid. `status_hint` is the status to reply with.
    """
    if len(value) > MAX_CREATE:
        raise _invalid(f"the JSON that describes a scan must have at most {MAX_CREATE} bytes, not {len(value)}")
    try:
        wanted = json.loads(value)
    except (ValueError, RecursionError):
        raise _invalid("a scan must be described in JSON") from None
    if not isinstance(wanted, dict):
        raise _invalid("a scan must be described by a JSON object")
    limits, sampling = _field(wanted, "range", dict), _field(wanted, "sampling", dict)
    if (limits is None) == (sampling is None):
        raise _invalid("a scan must have either a 'range' or a 'sampling'")
    name = _field(wanted, "name", str, "")
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise _invalid(f"the name of a scan must have at most {MAX_NAME} bytes")
    start, end, samples, seed = b"", None, None, 0
    if limits is not None:
        start, start_exclusive = _bound(limits, "start", "excl_start")
        end, end_exclusive = _bound(limits, "end", "excl_end")
        start += b"\0" * start_exclusive
        end += b"\0" * (not end_exclusive)
    else:
        samples, seed = _field(sampling, "samples", int), _field(sampling, "seed", int, 0)
        if not samples:
            raise _invalid("'samples' must be at least 1")
    return ScanRequest(
        start=start,
        end=end,
        samples=samples,
        seed=seed,
        collection=_number_in_text(wanted, "collection", 16, (1 << 32) - 1) if "collection" in wanted else 0,
        keys_only=_field(wanted, "key_only", bool, False),
        include_xattrs=_field(wanted, "include_xattrs", bool, False),
        name=name,
        requirements=_requirements(_field(wanted, "snapshot_requirements", dict)),
    )


def _requirements(wanted: dict[str, Any] | None) -> SnapshotRequirements | None:
    if wanted is None:
        return None
    seqno = _field(wanted, "seqno", int)
    if seqno is None:
        raise _invalid("'snapshot_requirements' must have a 'seqno'")
    return SnapshotRequirements(
        vbucket_uuid=_number_in_text(wanted, "vb_uuid", 10, (1 << 64) - 1),
        seqno=seqno,
        seqno_exists=_field(wanted, "seqno_exists", bool, False),
        timeout=_field(wanted, "timeout_ms", int, 0) / 1000,
    )


def encode_scan_request(request: ScanRequest) -> bytes:
    """Encode the value of RANGE_SCAN_CREATE."""
    wanted: dict[str, Any] = {}
    if request.samples is not None:
        wanted["sampling"] = {"samples": request.samples, "seed": request.seed}
    else:
        end = request.end if request.end is not None else b"\xff" * (MAX_KEY + 1)
        wanted["range"] = {"start": base64.b64encode(request.start).decode(), "excl_end": base64.b64encode(end).decode()}
    if request.keys_only:
        wanted["key_only"] = True
    if request.include_xattrs:
        wanted["include_xattrs"] = True
    if request.name:
        wanted["name"] = request.name
    if request.collection:
        wanted["collection"] = f"{request.collection:x}"
    if request.requirements is not None:
        required = request.requirements
        wanted["snapshot_requirements"] = {
            "vb_uuid": str(required.vbucket_uuid),
            "seqno": required.seqno,
            "seqno_exists": required.seqno_exists,
            "timeout_ms": round(required.timeout * 1000),
        }
    return json.dumps(wanted, separators=(",", ":")).encode()


def pack_documents(records: Iterable[tuple[bytes, bytes, int, int, int, int, int]], skip: int = 0) -> list[bytes]:
    """Pack documents, and return pieces to be joined.

    Args:
        records: The documents, as tuples in the order of `Document`. Without the skipped part, a key must have at most `MAX_KEY`
            bytes.
        skip: The number of bytes to leave out at the beginning of each key: those of its collection id.
    """
    pieces: list[bytes] = []
    pack = _META.pack
    lengths = _LEB128
    for key, value, flags, expiry, datatype, cas, seqno in records:
        size = len(value)
        try:
            meta = pack(flags, expiry, seqno, cas, datatype)
        except struct.error:
            # Older versions stored expiries beyond 32 bits. To look at the error costs nothing where there is none.
            meta = pack(flags, min(expiry, _MAX_EXPIRY), seqno, cas, datatype)
        pieces += (
            meta, lengths[len(key) - skip], key[skip:],
            lengths[size] if size < _LENGTHS else encode_leb128(size), value,
        )  # fmt: skip
    return pieces


def pack_keys(records: Iterable[tuple[bytes, bytes, int, int, int, int, int]], skip: int = 0) -> list[bytes]:
    """Pack the keys of documents, and return pieces to be joined. The arguments are those of `pack_documents`."""
    pieces: list[bytes] = []
    lengths = _LEB128
    for record in records:
        key = record[0]
        pieces += (lengths[len(key) - skip], key[skip:])
    return pieces


def pack_xattrs(xattrs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Pack extended attributes as they are sent before a document.

    The layout: u32 length of the rest, and repeated {u32 length of the pair, name, 0, JSON, 0}.

    Args:
        xattrs: The names of the attributes, and their values in JSON. Both are packed as they are.
    """
    packed = bytearray()
    for name, value in xattrs:
        pair = name + b"\0" + value + b"\0"
        packed += _PAIR.pack(len(pair)) + pair
    return _PAIR.pack(len(packed)) + bytes(packed)


def encode_scan_frame(status: int, opaque: int, extras: bytes, pieces: list[bytes]) -> bytes:
    """Encode a response to RANGE_SCAN_CONTINUE: `encode_response`, without joining the pieces of the value first."""
    body = len(extras) + sum(map(len, pieces))
    header = HEADER.pack(Magic.RESPONSE, Opcode.RANGE_SCAN_CONTINUE, 0, len(extras), 0, status, body, opaque, 0)
    return b"".join([header, extras, *pieces])


def unpack_scan(data: bytes, keys_only: bool) -> Iterator[Document]:
    """Yield the documents or keys of one frame.

    Args:
        data: The value of the frame.
        keys_only: Whether the frame carries keys.

    Raises:
        RemoteProtocolError: The data is cut off.
    """
    offset = 0
    while offset < len(data):
        flags = expiry = seqno = cas = datatype = 0
        if not keys_only:
            if len(data) - offset < _META.size:
                raise RemoteProtocolError("a document of a scan is cut off")
            flags, expiry, seqno, cas, datatype = _META.unpack_from(data, offset)
            offset += _META.size
        key, offset = _counted(data, offset)
        value = b""
        if not keys_only:
            value, offset = _counted(data, offset)
        yield Document(key, value, flags, expiry, datatype, cas, seqno)


def _counted(data: bytes, offset: int) -> tuple[bytes, int]:
    length, offset = decode_leb128(data, offset)
    end = offset + length
    if end > len(data):
        raise RemoteProtocolError("a key or value of a scan is cut off")
    return data[offset:end], end
