"""Requests out of bytes: every case whole, byte by byte, in two pieces, and with trailing data."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_spool.mctext import (
    MAX_KEYS_LINE,
    MAX_LINE,
    NEED_DATA,
    BlockLine,
    Rejected,
    RemoteProtocolError,
    Request,
    RequestDecoder,
    parse_meta_line,
)

BAD = b"CLIENT_ERROR bad command line format"
CHUNK = b"CLIENT_ERROR bad data chunk"
LARGE = b"SERVER_ERROR object too large for cache"


def make() -> RequestDecoder:
    return RequestDecoder(1000)


def feed(decoder: RequestDecoder, pieces: list[bytes], *, runs: bool = False) -> list[object]:
    """Decode as a server does. Runs are shown as the requests that they are."""
    events: list[object] = []
    for piece in pieces:
        decoder.receive_data(piece)
        while True:
            while runs and (run := decoder.next_run()):
                name = b"mg" if run.meta is not None else b"gets" if run.cas else b"get"
                events += [(name, key, run.meta, run.opaque) for key in run.keys]
            event = decoder.next_event()
            if event is NEED_DATA:
                break
            if runs and isinstance(event, Request) and event.command in (b"get", b"gets", b"mg"):
                events.append(as_run(event))
            else:
                events.append(event)
            if isinstance(event, Rejected) and event.closing:
                return events
    return events


def as_run(request: Request) -> object:
    """Show a request as a run of one would be."""
    if request.command != b"mg":
        return (request.command, request.arguments[0], None, b"") if len(request.arguments) == 1 else request
    try:
        return (b"mg", *parse_meta_line(request.arguments))
    except RemoteProtocolError:
        return request


def decode(data: bytes, trailing: bytes = b"version\r\n") -> list[object]:
    whole = feed(make(), [data])
    assert feed(make(), [bytes([byte]) for byte in data]) == whole
    if not (whole and isinstance(whole[-1], Rejected) and whole[-1].closing):
        more = feed(make(), [data + trailing])
        assert more[:-1] == whole
        assert more[-1] == Request(b"version", [], 9)
        for middle in range(1, len(data), max(1, len(data) // 11)):
            assert feed(make(), [data[:middle], data[middle:]]) == whole
    return whole


@pytest.mark.parametrize(
    ("data", "command", "arguments"),
    [
        (b"get a\r\n", b"get", [b"a"]),
        (b"get a\n", b"get", [b"a"]),
        (b"  get   a  b \r\n", b"get", [b"a", b"b"]),
        (b"get a\tb\r\n", b"get", [b"a\tb"]),
        (b"get \xff\x01\r\n", b"get", [b"\xff\x01"]),
        (b"get a\r\r\n", b"get", [b"a\r"]),
        (b"anything at all\r\n", b"anything", [b"at", b"all"]),
        (b"mn\r\n", b"mn", []),
    ],
)
def test_lines(data: bytes, command: bytes, arguments: list[bytes]) -> None:
    assert decode(data) == [Request(command, arguments, len(data))]


@pytest.mark.parametrize("data", [b"\r\n", b"\n", b" \r\n"])
def test_empty_lines(data: bytes) -> None:
    (event,) = decode(data)
    assert event == Rejected(b"ERROR")


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (b"set k 5 60 3", BlockLine(b"k", 3, 5, 60)),
        (b"add k 4294967295 -1 3", BlockLine(b"k", 3, 4294967295, -1)),
        (b"replace k +5 +6 +3", BlockLine(b"k", 3, 5, 6)),
        (b"append k 0 0 3 noreply", BlockLine(b"k", 3, noreply=True)),
        (b"prepend k 0 0 3 something", BlockLine(b"k", 3)),
        (b"cas k 0 0 3 18446744073709551615", BlockLine(b"k", 3, cas=2**64 - 1)),
        (b"cas k 0 0 3 0 noreply", BlockLine(b"k", 3, cas=0, noreply=True)),
        (b"set k 0 99999999999 3", BlockLine(b"k", 3, 0, 2**32 - 1)),
        (b"set k 0 4294967295 3", BlockLine(b"k", 3, 0, -1)),
        (b"set k 0 4292375296 3", BlockLine(b"k", 3, 0, -(30 * 86400))),
        (b"set k 0 4292375295 3", BlockLine(b"k", 3, 0, 4292375295)),
        (b"set k 0 -99999999999 3", BlockLine(b"k", 3, 0, -(2**31))),
        (b"set " + b"k" * 250 + b" 0 0 3", BlockLine(b"k" * 250, 3)),
    ],
)
def test_blocks(head: bytes, line: BlockLine) -> None:
    data = head + b"\r\n\r\n\0\r\n"
    assert decode(data) == [Request(head.split()[0], (), len(data), line, b"\r\n\0")]


@pytest.mark.parametrize("flags", [b" q  O2", b"  q", b" q ", b"   ", b" "])
def test_further_blanks_before_a_block(flags: bytes) -> None:
    data = b"ms k 3" + flags + b"\r\nabc\r\n"
    (event,) = decode(data)
    assert isinstance(event, Request)
    assert event.value == b"abc"


def test_an_empty_block() -> None:
    assert decode(b"set k 0 0 0\r\n\r\n") == [Request(b"set", (), 15, BlockLine(b"k", 0), b"")]


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (b"set k 0 0\r\n", [b"ERROR"]),
        (b"set k 0 0 1 noreply more\r\n", [b"ERROR"]),
        (b"cas k 0 0 1\r\n", [b"ERROR"]),
        (b"cas k 0 0 noreply\r\n", [b"ERROR"]),
        (b"set k x 0 1\r\n", [BAD]),
        (b"set k -1 0 1\r\n", [BAD]),
        (b"set k 4294967296 0 1\r\n", [BAD]),
        (b"set k 0 x 1\r\n", [BAD]),
        (b"set k 0 0 -1\r\n", [BAD]),
        (b"set k 0 0 2147483646\r\n", [BAD]),
        (b"set k 0 0 1x\r\n", [BAD]),
        (b"set k 0 0 0x1\r\n", [BAD]),
        (b"set k 0 0 " + b"9" * 2000 + b"\r\n", [BAD]),
        (b"set " + b"k" * 251 + b" 0 0 1\r\n", [BAD]),
        (b"set " + b"k" * 251 + b" 0 0 1 noreply\r\n", [b""]),
        (b"cas k 0 0 1 x\r\n", [BAD]),
        (b"cas k 0 0 1 18446744073709551616\r\n", [BAD]),
        (b"get a\0b\r\n", [BAD]),
        (b"set k 0 0 1\r\nab\r\n", [CHUNK, b"ERROR"]),
        (b"set k 0 0 1 noreply\r\nabc\r\n", [b""]),
        (b"ms\r\n", [b"ERROR"]),
        (b"ms k\r\n", [BAD]),
        (b"ms k x\r\n", [BAD]),
        (b"ms k -1\r\n", [BAD]),
        (b"ms " + b"k" * 251 + b" 1\r\n", [BAD]),
        (b"ms k 2 T1 T2\r\nab\r\n", [b"CLIENT_ERROR duplicate flag"]),
        (b"ms k 2 !\r\nab\r\n", [b"CLIENT_ERROR invalid flag"]),
        (b"ms k 2 Tx q\r\nab\r\n", [b"CLIENT_ERROR bad token in command line format"]),
        (b"ms k 2 MI\r\nab\r\n", [b"CLIENT_ERROR invalid mode for ms M token"]),
        (b"ms k 1 MI\r\n\r\nx\r\n", [b"CLIENT_ERROR invalid mode for ms M token", b"ERROR"]),
        (b"ms k!! 2 b\r\nab\r\n", [b"CLIENT_ERROR error decoding key"]),
    ],
)
def test_what_is_refused(data: bytes, replies: list[bytes]) -> None:
    seen = [event.reply if isinstance(event, Rejected) else b"ERROR" for event in decode(data)]
    assert seen == replies or seen[:1] == replies[:1] == [b""]


def test_a_block_over_the_limit_is_skipped() -> None:
    data = b"set k 0 0 1001\r\n" + b"v" * 1001 + b"\r\n"
    assert decode(data) == [Rejected(LARGE, command=b"set", line=BlockLine(b"k", 1001))]
    decoder = make()
    decoder.receive_data(data[:100])
    assert isinstance(decoder.next_event(), Rejected)
    assert decoder.next_event() is NEED_DATA
    assert decoder.buffered == 0
    assert decoder.skipping == len(data) - 100


def test_what_is_held_of_a_request_grows_with_what_arrives() -> None:
    decoder = make()
    data = b"set key 0 0 1000\r\n" + b"v" * 1000 + b"\r\n"
    for index in range(len(data) - 1):
        decoder.receive_data(data[index : index + 1])
        assert decoder.next_event() is NEED_DATA
        assert decoder.buffered == index + 1
    decoder.receive_data(data[-1:])
    assert isinstance(decoder.next_event(), Request)
    assert decoder.buffered == 0


@pytest.mark.parametrize("begin", [b"x", b"set k 0 0 1 ", b" " * 101 + b"get ", b"getx", b"\x16\x03\x01"])
def test_a_line_without_an_end(begin: bytes) -> None:
    (event,) = decode(begin + b"x" * MAX_LINE)
    assert isinstance(event, Rejected)
    assert event.closing
    assert event.reply == b"CLIENT_ERROR line is too long"


@pytest.mark.parametrize("begin", [b"get ", b"gets ", b"  get ", b"gat 1 ", b"gats 1 "])
def test_a_long_line_with_keys(begin: bytes) -> None:
    keys = [b"key%d" % number for number in range(10_000)]
    line = begin + b" ".join(keys) + b"\r\n"
    for size in (1000, 16_384, len(line)):
        (event,) = feed(make(), [line[at : at + size] for at in range(0, len(line), size)])
        assert isinstance(event, Request)
        assert list(event.arguments)[-10_000:] == keys


def test_a_line_with_keys_has_an_end_all_the_same() -> None:
    decoder = make()
    events = feed(decoder, [b"get " + b"k" * 200] + [b" " + b"k" * 200] * (MAX_KEYS_LINE // 201))
    assert [event.closing for event in events if isinstance(event, Rejected)] == [True]
    assert decoder.buffered == 0


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"get a\r\n", b"get a b\r\n", b"mg k v\r\n", b"mg k  v\r\n", b"mg k v q\r\n", b"mg k\r\n", b"mn\r\n", b"get a\n"]
        ),
        st.sampled_from(
            [
                b"set k 0 0 3\r\nabc\r\n",
                b"set k 0 0 3\r\nabcd\r\n",
                b"ms k 3 q\r\nabc\r\n",
                b"ms k 3\r\nabc\r\n",
                b"ms k 3 F0 \r\nabc\r\n",
                b"ms k 3  q   T1\r\nabc\r\n",
                b"set k 0 0 3 \r\nabc\r\n",
                b"mg k v \r\n",
                b"add k 1 2 3 noreply\r\nabc\r\n",
                b"ms k 3 O1 q v v\r\nabc\r\n",
                b"set k 0 0 5000\r\n",
                b"\r\n",
            ]
        ),
        st.sampled_from([b"mg k v v\r\n", b"mg k Ox v\r\n", b"mg a2V5 b k\r\n", b"get " + b"k" * 251 + b"\r\n", b"mg k\0 v\r\n"]),
        st.binary(max_size=30),
    ),
    max_size=12,
)


@given(PIECES, st.lists(st.integers(1, 40), max_size=20), st.booleans())
@example([b"get a\r\n"] * 3 + [b"mg k v\r\n"] * 3, [], True)
@example([b"mg a2V5 b k\r\n"] * 2, [], True)
@example([b"ms k 3 F0 \r\nabc\r\n"], [], True)
def test_any_bytes_in_any_pieces(pieces: list[bytes], cuts: list[int], runs: bool) -> None:
    """They give requests or refusals and nothing else, the same ones whatever the pieces, in runs and without."""
    data = b"".join(pieces)
    whole = feed(make(), [data], runs=True)
    assert feed(make(), [bytes([byte]) for byte in data], runs=True) == whole
    parts, rest = [], data
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]
    assert feed(make(), [*parts, rest], runs=runs) == whole if runs else feed(make(), [*parts, rest]) == feed(make(), [data])
