"""The wire of scans and of file fragments."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool._formats import prefix_end
from trio_spool.mcbp import (
    DOCUMENTS_EXTRAS,
    NEED_DATA,
    Document,
    FragmentRequest,
    Opcode,
    RemoteProtocolError,
    ResponseDecoder,
    ScanRequest,
    SnapshotRequirements,
    Status,
    encode_fragment_header,
    encode_fragment_request,
    encode_scan_frame,
    encode_scan_request,
    pack_documents,
    pack_keys,
    parse_fragment_request,
    parse_scan_request,
    unpack_scan,
)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
keys = st.binary(min_size=1, max_size=250)
documents = st.builds(
    Document, key=keys, value=st.binary(max_size=300) | st.just(b"v" * 20_000), flags=u32, expiry=u32,
    datatype=st.integers(0, 255), cas=u64, seqno=u64,
)  # fmt: skip


@given(st.lists(documents, max_size=20))
def test_any_documents_survive(many: list[Document]) -> None:
    data = b"".join(pack_documents(many))
    assert list(unpack_scan(data, keys_only=False)) == many
    names = [Document(document.key, b"", 0, 0, 0, 0, 0) for document in many]
    assert list(unpack_scan(b"".join(pack_keys(many)), keys_only=True)) == names


@given(st.lists(documents, min_size=1, max_size=5), st.data())
def test_any_cut_is_noticed(many: list[Document], data: st.DataObject) -> None:
    whole = b"".join(pack_documents(many))
    ends = [0]
    for document in many:
        ends.append(ends[-1] + len(b"".join(pack_documents([document]))))
    cut = data.draw(st.integers(0, len(whole)))
    if cut in ends:
        assert len(list(unpack_scan(whole[:cut], keys_only=False))) == ends.index(cut)
    else:
        with pytest.raises(RemoteProtocolError):
            list(unpack_scan(whole[:cut], keys_only=False))


@given(st.lists(documents, max_size=5), u32)
def test_any_frame_is_a_response(many: list[Document], opaque: int) -> None:
    decoder = ResponseDecoder()
    decoder.receive_data(encode_scan_frame(Status.SCAN_MORE, opaque, DOCUMENTS_EXTRAS, pack_documents(many)))
    response = decoder.next_event()
    assert response is not NEED_DATA
    assert (response.opcode, response.status, response.opaque) == (Opcode.RANGE_SCAN_CONTINUE, Status.SCAN_MORE, opaque)
    assert response.extras == DOCUMENTS_EXTRAS
    assert list(unpack_scan(response.value, keys_only=False)) == many


requirements = st.none() | st.builds(
    SnapshotRequirements,
    vbucket_uuid=u64,
    seqno=u64,
    seqno_exists=st.booleans(),
    timeout=st.integers(0, 10**6).map(lambda n: n / 1000),
)
common = {
    "collection": u32,
    "keys_only": st.booleans(),
    "name": st.text(max_size=12),
    "requirements": requirements,
}
scan_requests = st.builds(
    ScanRequest, start=st.binary(max_size=250), end=st.binary(min_size=1, max_size=250), **common
) | st.builds(ScanRequest, samples=st.integers(1, 2**64 - 1), seed=u64, **common)  # fmt: skip


@given(scan_requests)
def test_any_scan_request_survives(request: ScanRequest) -> None:
    assert parse_scan_request(encode_scan_request(request)) == request


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize(
    ("limits", "start", "end"),
    [
        ({"start": b64(b"a"), "end": b64(b"b")}, b"a", b"b\0"),
        ({"excl_start": b64(b"a"), "end": b64(b"b")}, b"a\0", b"b\0"),
        ({"start": b64(b"a"), "excl_end": b64(b"b")}, b"a", b"b"),
        ({"excl_start": b64(b"a"), "excl_end": b64(b"b")}, b"a\0", b"b"),
        ({"start": "", "end": b64(b"b")}, b"", b"b\0"),
    ],
)
def test_ranges(limits: dict[str, str], start: bytes, end: bytes) -> None:
    request = parse_scan_request(json.dumps({"range": limits, "unknown": [1]}).encode())
    assert (request.start, request.end) == (start, end)


GOOD = {"start": "", "end": "YQ=="}
BAD_SCANS = [
    b"",
    b"{",
    b"[]",
    b"7",
    b'"text"',
    b"\xff",
    b"[" * 10_000,
    b" " * 20_000 + b"{}",
    {},
    {"range": GOOD, "sampling": {"samples": 1, "seed": 1}},
    {"range": 7},
    {"range": {"start": ""}},
    {"range": {"end": ""}},
    {"range": {"start": "", "excl_start": "", "end": ""}},
    {"range": {"start": "!", "end": ""}},
    {"range": {"start": 7, "end": ""}},
    {"range": {"start": b64(b"k" * 300), "end": ""}},
    {"sampling": {}},
    {"sampling": {"samples": 0}},
    {"sampling": {"samples": -1}},
    {"sampling": {"samples": "1"}},
    {"sampling": {"samples": True}},
    {"sampling": {"samples": 2**64}},
    {"range": GOOD, "key_only": "yes"},
    {"range": GOOD, "name": 7},
    {"range": GOOD, "name": "n" * 51},
    {"range": GOOD, "name": "é" * 26},
    {"range": GOOD, "collection": 1},
    {"range": GOOD, "collection": "xyz"},
    {"range": GOOD, "collection": "100000000"},
    {"range": GOOD, "collection": "-1"},
    {"range": GOOD, "snapshot_requirements": []},
    {"range": GOOD, "snapshot_requirements": {"vb_uuid": "1"}},
    {"range": GOOD, "snapshot_requirements": {"seqno": 1}},
    {"range": GOOD, "snapshot_requirements": {"seqno": 1, "vb_uuid": 7}},
    {"range": GOOD, "snapshot_requirements": {"seqno": 1, "vb_uuid": "1", "timeout_ms": "1"}},
]


@pytest.mark.parametrize("wanted", BAD_SCANS, ids=lambda wanted: repr(wanted)[:40])
def test_bad_scan_requests(wanted: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_scan_request(wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode())
    assert caught.value.status_hint == Status.INVALID
    assert str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
almost_scans = st.dictionaries(
    st.sampled_from(["range", "sampling", "collection", "key_only", "name", "snapshot_requirements"]),
    json_values
    | st.dictionaries(
        st.sampled_from(["start", "excl_start", "end", "excl_end", "samples", "seed", "vb_uuid", "seqno", "timeout_ms"]),
        json_values | st.just("YQ==") | st.integers(0, 5),
    ),
)


@given(st.binary(max_size=60) | almost_scans.map(lambda wanted: json.dumps(wanted).encode()))
def test_any_scan_request_is_parsed_or_refused(value: bytes) -> None:
    try:
        parse_scan_request(value)
    except RemoteProtocolError as exc:
        assert exc.status_hint == Status.INVALID


# Bytes that carry over, or nearly do.
edges = st.lists(st.sampled_from([0x00, 0x61, 0xFE, 0xFF]), max_size=4).map(bytes)


@given(st.binary(max_size=5) | edges, keys | edges)
def test_any_prefix_has_an_end(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end is None or key < end)
    assert inside == key.startswith(prefix)


fragments = st.builds(
    FragmentRequest, id=st.integers(0, 1000), offset=u64, length=st.integers(0, 2**31), checksum_length=st.integers(0, 2**40)
).filter(lambda request: request.body_length <= 2**32 - 1)


@given(fragments)
def test_any_fragment_request_survives(request: FragmentRequest) -> None:
    assert parse_fragment_request(encode_fragment_request(request)) == request
    header = encode_fragment_header(7, request.body_length)
    assert int.from_bytes(header[8:12], "big") == request.body_length


@pytest.mark.parametrize(
    ("length", "every", "body"), [(0, 0, 0), (10, 0, 10), (0, 4, 0), (1, 4, 5), (4, 4, 8), (5, 4, 13), (8, 4, 16), (5, 100, 9)]
)
def test_length_of_fragments(length: int, every: int, body: int) -> None:
    assert FragmentRequest(id=1, offset=0, length=length, checksum_length=every).body_length == body


BAD_FRAGMENTS = [
    b"",
    b"[]",
    b"{",
    b"\xff",
    b"[" * 4000,
    b" " * 5000 + b"{}",
    {},
    {"id": "1", "offset": "0", "length": "1"},
    {"id": True, "offset": "0", "length": "1"},
    {"id": -1, "offset": "0", "length": "1"},
    {"id": 1, "offset": 0, "length": "1"},
    {"id": 1, "offset": "0", "length": "-1"},
    {"id": 1, "offset": "0", "length": " 1"},
    {"id": 1, "offset": "0"},
    {"id": 1, "offset": "0", "length": "1", "checksum_length": "0"},
    {"id": 1, "offset": "0", "length": "1", "checksum_length": 4},
    {"id": 1, "offset": "0", "length": "4294967296"},
    {"id": 1, "offset": "0", "length": "4294967295", "checksum_length": "1"},
    {"id": 1, "offset": "1" * 5000, "length": "1"},
]


@pytest.mark.parametrize("wanted", BAD_FRAGMENTS, ids=lambda wanted: repr(wanted)[:40])
def test_bad_fragment_requests(wanted: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_fragment_request(wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode())
    assert caught.value.status_hint == Status.INVALID
