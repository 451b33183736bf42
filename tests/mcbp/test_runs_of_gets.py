"""Runs of GETs, which are decoded together: the events are the same as those of one frame after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.mcbp import HEADER, NEED_DATA, Opcode, Rejected, RemoteProtocolError, RequestDecoder, encode_request
from trio_spool.server.protocols.binary import TABLE

SHAPES = TABLE.shapes


def decode(pieces: list[bytes], *, runs: bool) -> list[object]:
    """Decode as a server does, with runs or without. Return opcodes, opaques and keys, and how the stream was lost if it was."""
    decoder = RequestDecoder(SHAPES)
    seen: list[object] = []
    for piece in pieces:
        decoder.receive_data(piece)
        while True:
            if runs:
                seen += [(Opcode.GET, opaque, key) for opaque, key in decoder.next_gets()]
            try:
                event = decoder.next_event()
            except RemoteProtocolError as exc:
                return [*seen, str(exc)]
            if event is NEED_DATA:
                break
            seen.append((event.opcode, event.opaque, event.key))
            if isinstance(event, Rejected) and event.lost:
                return [*seen, event.reason]
    return seen


def many_gets(count: int, size: int) -> bytes:
    return b"".join(encode_request(Opcode.GET, key=b"%04d" % number * size, opaque=number << 20) for number in range(count))


@pytest.mark.parametrize("between", [b"", encode_request(Opcode.GET, key=b"kkkk", cas=1), encode_request(Opcode.NOOP)])
def test_a_long_run_of_gets_of_one_size(between: bytes) -> None:
    decoder = RequestDecoder(SHAPES)
    decoder.receive_data(many_gets(50, 1) + between + many_gets(20, 1))
    gets = decoder.next_gets()
    assert gets[:50] == [(number << 20, b"\0%04d" % number) for number in range(50)]
    if between[1:2] == bytes((Opcode.NOOP,)):
        assert len(gets) == 50
        assert decoder.next_event().opcode == Opcode.NOOP
        gets += decoder.next_gets()
    assert gets[-20:] == [(number << 20, b"\0%04d" % number) for number in range(20)]
    assert decoder.next_event() is NEED_DATA


@given(
    st.lists(
        st.one_of(
            st.builds(encode_request, st.just(Opcode.GET), key=st.binary(min_size=1, max_size=250), opaque=st.integers(0, 9)),
            st.sampled_from(
                [
                    encode_request(Opcode.GETQ, key=b"k"),
                    encode_request(Opcode.GET, key=b"k", datatype=1),
                    encode_request(Opcode.GET, key=b"k", extras=b"e"),
                    encode_request(Opcode.GET, key=b"k", value=b"v"),
                    encode_request(Opcode.GET, key=b"k" * 251),
                    encode_request(Opcode.GET),
                    encode_request(Opcode.GET, key=b"k", framing=b"\0"),
                    encode_request(Opcode.GET, key=b"kk", vbucket=1),
                    encode_request(Opcode.GET, key=b"kk", vbucket=256),
                    encode_request(Opcode.GET, key=b"kk", cas=1),
                    encode_request(Opcode.GET, key=b"kk", cas=1 << 56),
                    encode_request(Opcode.SET, key=b"kk", extras=bytes(8)),
                ]
            ),
            st.builds(many_gets, st.integers(1, 30), st.integers(1, 4)),
        ),
        max_size=8,
    ),
    st.integers(0, 1000),
)
def test_any_run_of_gets_is_what_the_events_are(frames: list[bytes], cut: int) -> None:
    stream = b"".join(frames)
    assert decode([stream[:cut], stream[cut:]], runs=True) == decode([stream], runs=False)


@pytest.mark.parametrize("which", [0, 1, 10, 19])
@pytest.mark.parametrize("position", range(1, HEADER.size))
def test_every_byte_of_every_header_counts(position: int, which: int) -> None:
    """One wrong byte in a run of 20 is seen wherever it is, and what comes behind it is what it would be without the run."""
    size = HEADER.size + 4
    for change in (0x01, 0x04, 0x80):
        stream = bytearray(many_gets(20, 1))
        stream[which * size + position] ^= change
        assert decode([bytes(stream)], runs=True) == decode([bytes(stream)], runs=False)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("position", range(16, 24))
def test_a_get_with_a_cas_is_no_plain_one_where_there_must_be_none(position: int, count: int) -> None:
    stream = bytearray(many_gets(count, 1))
    at = count // 2 * (HEADER.size + 4)
    stream[at + position] = 1
    decoder = RequestDecoder(SHAPES)
    decoder.gets_without_cas = True
    decoder.receive_data(bytes(stream))
    assert len(decoder.next_gets()) == count // 2
    assert decoder.next_event().cas == 1 << 8 * (23 - position)
    assert len(decoder.next_gets()) == count - count // 2 - 1


def test_a_run_does_not_pass_the_longest_key() -> None:
    for size in (250, 251):
        stream = b"".join(encode_request(Opcode.GET, key=b"%03d" % number + b"k" * (size - 3)) for number in range(10))
        assert decode([stream], runs=True) == decode([stream], runs=False)
