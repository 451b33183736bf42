"""What a fuzzer feeds: each function takes any bytes, and raises only if the code under test is wrong.

They are run by the tests with mutated examples, and by ``tests/soak/run_atheris.py`` with what atheris finds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import NamedTuple

from trio_spool import mctext
from trio_spool.engine import Edit, Item, Step, StepKind, apply, is_json
from trio_spool.mcbp import (
    NEED_DATA,
    FragmentRequest,
    Opcode,
    Rejected,
    RemoteProtocolError,
    RequestDecoder,
    ResponseDecoder,
    ScanRequest,
    encode_fragment_request,
    encode_request,
    encode_response,
    encode_scan_request,
    parse_fragment_request,
    parse_scan_request,
    parse_subdocument,
    unpack_scan,
)
from trio_spool.server.protocols.binary import TABLE

_MOST = 1 << 16  # bytes of a frame


def _events(decoder: RequestDecoder | ResponseDecoder, pieces: list[bytes]) -> list[object]:
    """Return the events of what comes in pieces, and the error at which they end."""
    events: list[object] = []
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            while (event := decoder.next_event()) is not NEED_DATA:
                events.append(event)
                if isinstance(event, Rejected) and event.lost:
                    return events  # the connection ends here
    except RemoteProtocolError as exc:
        events.append(str(exc))
    return events


def decoder(data: bytes) -> None:
    """Requests are the same, however they are cut."""
    cut = data[0] if data else 0
    whole = _events(RequestDecoder(TABLE.shapes, _MOST, _MOST), [data])
    assert _events(RequestDecoder(TABLE.shapes, _MOST, _MOST), [data[:cut], data[cut:]]) == whole
    assert _events(RequestDecoder(TABLE.shapes, _MOST, _MOST), [data[i : i + 1] for i in range(len(data))]) == whole


def text_decoder(data: bytes) -> None:
    """So are those of the text protocol, whether runs are decoded together or not."""
    cut = data[0] if data else 0
    whole = _text_events([data], runs=False)
    assert _text_events([data], runs=True) == whole
    assert _text_events([data[:cut], data[cut:]], runs=True) == whole
    assert _text_events([data[i : i + 1] for i in range(len(data))], runs=False) == whole


def _text_events(pieces: list[bytes], *, runs: bool) -> list[object]:
    decoder = mctext.RequestDecoder(_MOST)
    events: list[object] = []
    for piece in pieces:
        decoder.receive_data(piece)
        while True:
            while runs and (run := decoder.next_run()):
                name = b"mg" if run.meta is not None else b"gets" if run.cas else b"get"
                events += [(name, key, run.meta, run.opaque) for key in run.keys]
            event = decoder.next_event()
            if event is mctext.NEED_DATA:
                break
            events.append(_as_run(event))
            if isinstance(event, mctext.Rejected) and event.closing:
                return events
    return events


def _as_run(event: object) -> object:
    """Show a request that may be part of a run as one of a run is shown."""
    if not isinstance(event, mctext.Request) or event.command not in (b"get", b"gets", b"mg"):
        return event
    if event.command != b"mg":
        return event if len(event.arguments) != 1 else (event.command, event.arguments[0], None, b"")
    try:
        return (b"mg", *mctext.parse_meta_line(event.arguments))
    except mctext.RemoteProtocolError as exc:
        return str(exc)


def responses(data: bytes) -> None:
    """So are responses."""
    cut = data[0] if data else 0
    assert _events(ResponseDecoder(_MOST), [data]) == _events(ResponseDecoder(_MOST), [data[:cut], data[cut:]])


def scan(data: bytes) -> None:
    """A scan's request survives being encoded again, and its answers are read to the end or refused."""
    try:
        request = parse_scan_request(data)
    except RemoteProtocolError:
        pass
    else:
        assert parse_scan_request(encode_scan_request(request)) == request
    for keys_only in (False, True):
        try:
            list(unpack_scan(data, keys_only))
        except RemoteProtocolError:
            pass


def fragment(data: bytes) -> None:
    """So does the request for a piece of a file."""
    try:
        request = parse_fragment_request(data)
    except RemoteProtocolError:
        return
    assert parse_fragment_request(encode_fragment_request(request)) == request


_SUBDOCUMENT = [opcode for opcode in Opcode if opcode.name.startswith("SUBDOC_")]


def subdocument(data: bytes) -> None:
    """The paths of a request are read, or refused with a status."""
    if len(data) < 2:
        return
    opcode = _SUBDOCUMENT[data[0] % len(_SUBDOCUMENT)]
    shape = TABLE.shapes[opcode]
    assert shape is not None
    lengths = sorted(length for length in shape.extras if length <= len(data) - 2)  # the decoder has refused all others
    if not lengths:
        return
    length = lengths[data[1] % len(lengths)]
    try:
        parse_subdocument(opcode, data[2 : 2 + length], data[2 + length :])
    except RemoteProtocolError as exc:
        assert exc.status_hint is not None


_KINDS = list(StepKind)


def document(data: bytes) -> None:
    """An edit of any text makes JSON of JSON, or a problem; what is no JSON stays as it is. The parts of the data end at zeros."""
    parts = data.split(b"\0", 3)
    if len(parts) < 4 or not parts[0]:
        return
    chosen, path, value, text = parts
    step = Step(_KINDS[chosen[0] % len(_KINDS)], path, value, bool(chosen[-1] & 1), bool(chosen[-1] & 2))
    outcome, changed = apply(Edit(b"k", (step,)), Item(text))
    if isinstance(changed, Item) and is_json(text) and not step.xattr and step.kind is not StepKind.SET_DOCUMENT:
        assert outcome.problem is None
        assert is_json(changed.value)
        json.loads(changed.value)


class Target(NamedTuple):
    """A function to feed, and examples of what it is made for."""

    feed: Callable[[bytes], None]
    examples: list[bytes]


_FRAMES = [
    encode_request(Opcode.SET, key=b"key", extras=bytes(8), value=b"value"),
    encode_request(Opcode.GET, key=b"key") * 3,
    encode_request(Opcode.HELLO, key=b"agent", value=b"\0\x08\0\x0f"),
]
_DOCUMENT = b'{"a":{"b":[1,2,{"c":null}]},"d":"\\u00e9"}'
_LINES = [
    b"get a\r\nget b\r\n", b"gets a b\r\ngets a\r\n", b"mg a v k O1\r\nmg b v k O1\r\n", b"mg YQ== b v N30 R20\r\n", b"set a 1 2 3\r\nabc\r\n",
    b"cas a 0 0 3 5 noreply\r\nabc\r\n", b"ms a 3 F1 T30 MA q O2 c k\r\nabc\r\n", b"set a 0 0 99999\r\n", b"delete a noreply\r\nmn\r\n",
]  # fmt: skip
TARGETS = {
    "decoder": Target(decoder, _FRAMES),
    "text_decoder": Target(text_decoder, [*_LINES, b"".join(_LINES)]),
    "responses": Target(responses, [encode_response(Opcode.GET, 0, 7, value=b"value"), b"".join(_FRAMES)]),
    "scan": Target(scan, [encode_scan_request(ScanRequest(start=b"a", end=b"z")), b"\0" * 25 + b"\3key\5value"]),
    "fragment": Target(fragment, [encode_fragment_request(FragmentRequest(id=1, offset=0, length=10))]),
    "subdocument": Target(subdocument, [b"\0\3\0\1\0a", b"\x0b\0\xc5\0\0\1a", b"\x0c\0\xc8\0\0\1\0\0\0\1a1"]),
    "document": Target(
        document,
        [b"%c1\0%b\0%b\0%b" % (kind, path, b"7", _DOCUMENT) for kind in range(len(_KINDS)) for path in (b"a.b[-1].c", b"d", b"")],
    ),
}


def mutated(chance: random.Random, examples: list[bytes]) -> bytes:
    """Return an example that was changed a little: bytes set, dropped, doubled, or taken from another example."""
    data = bytearray(chance.choice(examples))
    for _ in range(chance.randrange(1, 6)):
        begin = chance.randrange(len(data) + 1)
        end = min(len(data), begin + chance.choice([1, 1, 2, 8]))
        other = chance.choice(examples)
        start = chance.randrange(len(other))
        data[begin:end] = chance.choice([b"", chance.randbytes(end - begin), data[begin:end] * 2, other[start : start + 8]])
    return bytes(data)
