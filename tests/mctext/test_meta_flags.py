"""The flags of meta commands."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.mctext import (
    MetaFlags,
    RemoteProtocolError,
    decode_key,
    encode_key,
    is_text,
    parse_flags_of,
    parse_meta_line,
    quote_key,
)


def refusal(*flags: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_flags_of(b" ".join(flags))
    return str(caught.value)


def test_all_flags() -> None:
    flags, opaque = parse_flags_of(b"b c C7 D3 E8 f F9 h I J4 k l ME N-1 Oabc q R30 s t T60 u v x P L")
    assert opaque == b"Oabc"
    assert flags == MetaFlags(
        letters=b"cfhklOst", base64=True, quiet=True, value=True, bump=False, stale=True, drop_value=True, cas=7,
        new_cas=8, flags=9, ttl=60, create_ttl=-1, recache=30, mode=b"E", delta=3, initial=4,
    )  # fmt: skip
    assert parse_flags_of(b"") == (MetaFlags(), b"")


def test_what_is_returned_keeps_its_order() -> None:
    assert parse_flags_of(b"t v k Ox c q s")[0].letters == b"tkOcs"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([b"v", b"v"], "CLIENT_ERROR duplicate flag"),
        ([b"\x7f"], "CLIENT_ERROR duplicate flag"),
        ([b"!"], "CLIENT_ERROR invalid flag"),
        ([b"Cx"], "CLIENT_ERROR bad token in command line format"),
        ([b"C"], "CLIENT_ERROR bad token in command line format"),
        ([b"C-1"], "CLIENT_ERROR bad token in command line format"),
        ([b"E" + b"9" * 30], "CLIENT_ERROR bad token in command line format"),
        ([b"T"], "CLIENT_ERROR bad token in command line format"),
        ([b"N1x"], "CLIENT_ERROR bad token in command line format"),
        ([b"R2147483648"], "CLIENT_ERROR bad token in command line format"),
        ([b"F4294967296"], "CLIENT_ERROR bad command line format"),
        ([b"Dx"], "CLIENT_ERROR invalid numeric delta value"),
        ([b"J-1"], "CLIENT_ERROR invalid numeric initial value"),
        ([b"M"], "CLIENT_ERROR incorrect length for M token"),
        ([b"MEE"], "CLIENT_ERROR incorrect length for M token"),
        ([b"O" + b"x" * 32], "CLIENT_ERROR opaque token too long"),
        ([b"Oa", b"Ob"], "CLIENT_ERROR duplicate flag"),
        ([b"v", b"Oa", b"v"], "CLIENT_ERROR duplicate flag"),
    ],
)
def test_what_is_refused(flags: list[bytes], line: str) -> None:
    assert refusal(*flags) == line


@given(st.binary(min_size=1, max_size=180))
def test_keys_in_base64(key: bytes) -> None:
    encoded = base64.b64encode(key)
    assert decode_key(encoded) == key
    assert parse_meta_line([encoded, b"b", b"k"])[0] == key
    assert encode_key(key, base64=True) == b" k" + encoded + b" b"


@pytest.mark.parametrize("key", [b"=", b"a", b"ab=c", b"!!!!", b"====", b"a2V5\n"])
def test_what_is_no_base64(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="error decoding key"):
        decode_key(key)


def test_keys_that_can_stand_in_a_line() -> None:
    assert is_text(b"k" * 250)
    assert is_text("schlüssel".encode())
    assert not any(map(is_text, (b"", b"k" * 251, b"a b", b"a\n", b"\x7f", b"\0")))
    assert quote_key(b"a b/%\xff") == b"a%20b%2F%25%FF"


@pytest.mark.parametrize("text", [b"O", b"Oa", b"Oa v", b"v Oa", b"v Oa k", b"k v O" + b"a" * 31])
def test_the_opaque_is_told_apart(text: bytes) -> None:
    flags, opaque = parse_flags_of(text)
    assert opaque == next(flag for flag in text.split() if flag.startswith(b"O"))
    assert b"O" in flags.letters
    assert flags.value == (b"v" in text.split())
