"""Frames: encoding, decoding, and every rule they can break."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.mcbp import (
    HEADER,
    MAX_FRAME,
    NEED_DATA,
    FrameInfo,
    KeyRule,
    LocalProtocolError,
    Opcode,
    Rejected,
    RemoteProtocolError,
    Request,
    RequestDecoder,
    ResponseDecoder,
    Status,
    decode_leb128,
    decode_server_duration,
    encode_done,
    encode_frame_infos,
    encode_get_hit,
    encode_leb128,
    encode_request,
    encode_response,
    encode_server_duration,
    opcode_name,
    parse_frame_infos,
    split_collection,
    status_text,
    with_framing,
)
from trio_spool.server.protocols.binary import TABLE

SHAPES = TABLE.shapes


def feed(decoder, pieces):
    events = []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not NEED_DATA:
            events.append(event)
            if isinstance(event, Rejected) and event.lost:
                return events
    return events


def every_way(make, data: bytes, trailing: bytes):
    """Decode it whole, byte by byte, and with trailing data; the events must be the same each time."""
    whole = feed(make(), [data])
    assert feed(make(), [bytes([byte]) for byte in data]) == whole
    if not (isinstance(whole[-1], Rejected) and whole[-1].lost):
        with_more = feed(make(), [data + trailing])
        assert with_more[:-1] == whole
        assert with_more[-1].opaque == 0x7A11
        for middle in range(1, len(data), max(1, len(data) // 7)):
            assert feed(make(), [data[:middle], data[middle:]]) == whole
    return whole


TRAILING = encode_request(Opcode.NOOP, opaque=0x7A11)


def decode(data: bytes, **attributes):
    def make() -> RequestDecoder:
        decoder = RequestDecoder(SHAPES, max_value=1000)
        for name, value in attributes.items():
            setattr(decoder, name, value)
        return decoder

    (event,) = every_way(make, data, TRAILING)
    return event


def header(magic=0x80, opcode=0, key=0, extras=0, datatype=0, vbucket=0, body=0, opaque=0, cas=0) -> bytes:
    return HEADER.pack(magic, opcode, key, extras, datatype, vbucket, body, opaque, cas)


def test_header_layout() -> None:
    frame = encode_request(Opcode.SET, key=b"K", extras=b"12345678", value=b"VV", vbucket=0x0102, datatype=1, opaque=3, cas=4)
    assert frame == bytes.fromhex("80 01 0001 08 01 0102 0000000b 00000003 0000000000000004") + b"12345678KVV"
    frame = encode_response(Opcode.GET, Status.NOT_FOUND, 3, value=b"no", framing=b"\x02\x00\x01", key=b"k")
    assert frame == bytes.fromhex("18 00 03 01 00 00 0001 00000006 00000003 0000000000000000") + b"\x02\x00\x01kno"


def test_set() -> None:
    frame = encode_request(Opcode.SET, key=b"key", extras=b"12345678", value=b"value", vbucket=9, opaque=7, cas=8)
    assert decode(frame) == Request(Opcode.SET, 9, 0, 7, 8, b"12345678", b"\0key", b"value", len(frame))


def test_unknown_opcodes_pass() -> None:
    assert decode(encode_request(0x77, key=b"k" * 300, extras=b"e", value=b"v")).opcode == 0x77


def test_flexible_frame() -> None:
    framing = encode_frame_infos([FrameInfo(0, b""), FrameInfo(1, b"\x01\x00\x05")])
    for size in (3, 128, 250):  # the length of the key has one byte here
        assert decode(encode_request(Opcode.GET, key=b"k" * size, framing=framing)).key == b"\0" + b"k" * size
    event = decode(encode_request(Opcode.GET, key=b"key", framing=framing))
    assert event.frame_infos == (FrameInfo(0, b""), FrameInfo(1, b"\x01\x00\x05"))
    assert event.key == b"\0key"


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        (b"\x20", Status.UNKNOWN_FRAME_INFO),
        (b"\xf0\x05", Status.UNKNOWN_FRAME_INFO),
        (b"\x01x", Status.INVALID),
        (b"\x12ab", Status.INVALID),
        (b"\x13ab", Status.INVALID),
        (b"\xf0", Status.INVALID),
        (b"\x0f", Status.INVALID),
    ],
)
def test_bad_framing(framing: bytes, status: int) -> None:
    event = decode(encode_request(Opcode.GET, key=b"key", framing=framing, opaque=5))
    assert (event.status, event.opaque, event.fatal, event.lost) == (status, 5, False, False)


@given(st.lists(st.tuples(st.sampled_from([(0, 0), (1, 1), (1, 3), (5, 0)]), st.binary(min_size=3, max_size=3)), max_size=5))
def test_any_frame_infos(parts) -> None:
    infos = tuple(FrameInfo(kind, filler[:size]) for (kind, size), filler in parts)
    assert parse_frame_infos(encode_frame_infos(infos)) == infos


def test_long_frame_infos() -> None:
    assert encode_frame_infos([FrameInfo(20, b"x" * 30)]) == b"\xff\x05\x0f" + b"x" * 30


@pytest.mark.parametrize("opcode", [number for number in range(256) if SHAPES[number] is not None])
def test_shape_of_every_opcode(opcode: int) -> None:
    shape = SHAPES[opcode]
    extras = min(shape.extras)
    key = b"" if shape.key is KeyRule.NONE else b"key"
    good = encode_request(opcode, key=key, extras=bytes(extras))
    assert isinstance(decode(good), Request)
    wrong_extras = next(size for size in range(30) if size not in shape.extras)
    bad = [encode_request(opcode, key=key, extras=bytes(wrong_extras))]
    if shape.key is KeyRule.NONE:
        bad.append(encode_request(opcode, key=b"k", extras=bytes(extras)))
    else:
        bad.append(encode_request(opcode, key=b"k" * 251, extras=bytes(extras)))
    if shape.key is KeyRule.REQUIRED:
        bad.append(encode_request(opcode, extras=bytes(extras)))
    if not shape.value:
        bad.append(encode_request(opcode, key=key, extras=bytes(extras), value=b"v"))
    bad.append(encode_request(opcode, key=key, extras=bytes(extras), datatype=2))
    for frame in bad:
        event = decode(frame)
        assert (event.opcode, event.status, event.fatal, event.lost) == (opcode, Status.INVALID, True, False)
        assert event.reason


def test_negotiated_datatype() -> None:
    frame = encode_request(Opcode.SET, key=b"k", extras=bytes(8), datatype=1)
    assert decode(frame, datatypes=1).datatype == 1


def test_collections_make_room_for_a_prefix() -> None:
    frame = encode_request(Opcode.GET, key=encode_leb128(0xFFFFFFFF) + b"k" * 250)
    assert isinstance(decode(frame, collections=True), Request)
    assert isinstance(decode(frame), Rejected)
    for key in (encode_leb128(0xFFFFFFFF) + b"k" * 251, encode_leb128(300) + b"k" * 251, b"\0" + b"k" * 251, b"k" * 256):
        assert isinstance(decode(encode_request(Opcode.GET, key=key), collections=True), Rejected)


@pytest.mark.parametrize(
    ("sent", "key"),
    [(b"\0key", b"\0key"), (b"\x80\0key", b"\0key"), (b"\xac\2key", b"\xac\2key"), (b"\xac\x82\0key", b"\xac\2key")],
)
def test_collections_are_spelled_in_one_way(sent: bytes, key: bytes) -> None:
    assert decode(encode_request(Opcode.GET, key=sent), collections=True).key == key


@pytest.mark.parametrize("key", [b"\0", b"\xac\2", b"\xac", b"\xff" * 6])
def test_a_collection_without_a_key(key: bytes) -> None:
    event = decode(encode_request(Opcode.GET, key=key), collections=True)
    assert (event.status, event.fatal) == (Status.INVALID, False)


@pytest.mark.parametrize("opcode", [Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.REPLACEQ, Opcode.APPEND])
def test_too_big(opcode: int) -> None:
    extras = bytes(0 if opcode == Opcode.APPEND else 8)
    frame = encode_request(opcode, key=b"key", extras=extras, value=b"v" * 1001, opaque=9)
    event = decode(frame)
    assert (event.opcode, event.status, event.key, event.too_big, event.fatal) == (opcode, Status.TOO_BIG, b"\0key", True, False)
    assert isinstance(decode(encode_request(opcode, key=b"key", extras=extras, value=b"v" * 1000)), Request)


def test_too_big_is_not_buffered() -> None:
    decoder = RequestDecoder(SHAPES, max_value=10)
    frame = encode_request(Opcode.SET, key=b"key", extras=bytes(8), value=b"v" * 1_000_000)
    for start in range(0, len(frame), 1000):
        decoder.receive_data(frame[start : start + 1000])
        while decoder.next_event() is not NEED_DATA:
            pass
        assert decoder.buffered <= 1000


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (header(key=5, extras=8, body=12), Status.UNKNOWN_COMMAND),
        (header(magic=0x08, key=0x0501, body=5), Status.UNKNOWN_COMMAND),
        (header(opcode=1, key=1, extras=8, body=0xFFFFFFE8), Status.INVALID),
        (header(opcode=1, key=1, extras=8, body=MAX_FRAME), Status.INVALID),
    ],
)
def test_lost(data: bytes, status: int) -> None:
    event = decode(data)
    assert (event.status, event.lost, event.fatal) == (status, True, True)


def test_a_lower_limit_before_authentication() -> None:
    assert decode(header(opcode=0x20, body=20_000), max_frame=16_384).lost


@pytest.mark.parametrize("magic", [0, 0x18, 0x81, 0x82, 0xFF])
@pytest.mark.parametrize("size", [1, 7, 24])
def test_bad_magic(magic: int, size: int) -> None:
    """The first byte tells."""
    decoder = RequestDecoder(SHAPES)
    decoder.receive_data(header(magic=magic)[:size])
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.next_event()
    assert caught.value.status_hint is None


@pytest.mark.parametrize("data", [b"E", b"ERROR\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_what_other_servers_say_is_no_response(data: bytes) -> None:
    decoder = ResponseDecoder()
    decoder.receive_data(data)
    with pytest.raises(RemoteProtocolError, match="a response must begin with"):
        decoder.next_event()


@given(
    st.lists(
        st.builds(
            encode_request,
            st.sampled_from([Opcode.GET, Opcode.SET, Opcode.NOOP, 0x77]),
            key=st.binary(max_size=260),
            extras=st.sampled_from([b"", bytes(8)]),
            value=st.binary(max_size=1200),
            opaque=st.integers(0, 2**32 - 1),
            cas=st.integers(0, 2**64 - 1),
        ),
        max_size=6,
    ),
    st.lists(st.integers(1, 3000)),
)
def test_any_requests_in_any_pieces(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames)
    whole = feed(RequestDecoder(SHAPES, max_value=1000), [stream])
    assert len(whole) == len(frames)
    pieces, position = [], 0
    for cut in cuts:
        pieces.append(stream[position : position + cut])
        position += cut
    pieces.append(stream[position:])
    assert feed(RequestDecoder(SHAPES, max_value=1000), pieces) == whole


@given(st.lists(st.binary(max_size=100), max_size=10), st.booleans())
def test_fuzz_garbage_parses_or_is_refused(pieces: list[bytes], plausible: bool) -> None:
    for decoder in (RequestDecoder(SHAPES), ResponseDecoder()):
        first = b"\x80" if isinstance(decoder, RequestDecoder) else b"\x81"
        try:
            feed(decoder, [first + pieces[0], *pieces[1:]] if plausible and pieces else pieces)
        except RemoteProtocolError:
            pass
        assert decoder.buffered <= sum(map(len, pieces)) + 1


@given(
    st.builds(
        dict,
        key=st.binary(max_size=255),
        extras=st.binary(max_size=255),
        value=st.binary(max_size=2000),
        cas=st.integers(0, 2**64 - 1),
        datatype=st.integers(0, 255),
        framing=st.binary(max_size=255),
    ),
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
)
def test_any_response(fields: dict, opcode: int, status: int) -> None:
    data = encode_response(opcode, status, 0x7A11, **fields)
    (response,) = feed(ResponseDecoder(), [data])
    assert (response.opcode, response.status, response.opaque, response.size) == (opcode, status, 0x7A11, len(data))
    assert {name: getattr(response, name) for name in fields} == fields


def test_responses_every_way() -> None:
    data = encode_response(Opcode.GET, 0, 1, value=b"value", extras=b"1234")
    every_way(ResponseDecoder, data, encode_response(Opcode.NOOP, 0, 0x7A11))


@pytest.mark.parametrize(
    "data",
    [header(magic=0x80), b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", header(magic=0x81, key=9, body=5), header(magic=0x81, body=2**31)],
)
def test_bad_responses(data: bytes) -> None:
    decoder = ResponseDecoder()
    decoder.receive_data(data)
    with pytest.raises(RemoteProtocolError):
        decoder.next_event()


def test_get_hit_is_a_response() -> None:
    assert encode_get_hit(Opcode.GETK, 5, 6, 7, b"value", b"key", 1) == encode_response(
        Opcode.GETK, 0, 5, cas=6, extras=struct.pack(">L", 7), value=b"value", key=b"key", datatype=1
    )


@pytest.mark.parametrize("key", [b"", b"key", b"k" * 255])
def test_framing_that_is_added_later(key: bytes) -> None:
    fields = {"key": key, "extras": b"extras", "value": b"value", "cas": 7, "datatype": 1}
    framing = encode_server_duration(0.001)
    assert with_framing(encode_response(Opcode.GETK, 0, 5, **fields), framing) == encode_response(
        Opcode.GETK, 0, 5, **fields, framing=framing
    )


def test_a_long_key_leaves_no_room_for_framing() -> None:
    frame = encode_response(Opcode.STAT, 0, 5, key=b"k" * 256)
    assert with_framing(frame, b"\x02\0\0") == frame


def test_done_is_a_response() -> None:
    assert encode_done(Opcode.SET, 5, 6) == encode_response(Opcode.SET, 0, 5, cas=6)
    assert encode_done(Opcode.SET, 5, 6, b"extras") == encode_response(Opcode.SET, 0, 5, cas=6, extras=b"extras")


def test_what_does_not_fit_a_frame() -> None:
    for fields in ({"key": b"k" * 70_000}, {"cas": -1}, {"extras": bytes(256)}, {"key": bytes(256), "framing": b"\0"}):
        with pytest.raises(LocalProtocolError):
            encode_request(Opcode.GET, **fields)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=5))
def test_any_leb128(number: int, rest: bytes) -> None:
    encoded = encode_leb128(number)
    assert decode_leb128(b"xx" + encoded + rest, 2) == (number, 2 + len(encoded))


def test_leb128_as_seen() -> None:
    assert encode_leb128(0) == b"\0"
    assert encode_leb128(300) == b"\xac\x02"
    assert split_collection(b"\xac\x02key") == (300, b"key")


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 5, b"\xff\xff\xff\xff\x7f", b"\x80" * 5 + b"\x01"])
def test_bad_leb128(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        split_collection(data)
    assert caught.value.status_hint == Status.INVALID


@pytest.mark.parametrize("number", [-1, 2**32])
def test_leb128_range(number: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_leb128(number)


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.0001, 0.5, 30.0, 1000.0])
def test_server_duration(seconds: float) -> None:
    decoded = decode_server_duration(encode_server_duration(seconds))
    assert decoded == pytest.approx(min(seconds, 120.125042), rel=0.3, abs=1e-6)


def test_no_server_duration() -> None:
    assert decode_server_duration(b"") is None
    assert decode_server_duration(b"\x12ab") is None


def test_names() -> None:
    assert opcode_name(Opcode.GETQ) == "getq"
    assert opcode_name(0x77) == "0x77"
    assert status_text(Status.NOT_FOUND) == b"Not found"
    assert status_text(Status.LOCKED) == b"Locked"
    assert status_text(0x7777) == b"Status 0x7777"
