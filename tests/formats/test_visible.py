"""Text of others: shown as it is, but for what a terminal would obey."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool._formats import escape_in_json, is_visible, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Gr\u00fc\u00dfe \u4f60\u597d \U0001f469\u200d\U0001f467", "Gr\u00fc\u00dfe \u4f60\u597d \U0001f469\u200d\U0001f467"),
        ("a\nb\tc\r\0", r"a\x0ab\x09c\x0d\x00"),
        ("\x1b[2J\x7f\x9b", r"\x1b[2J\x7f\x9b"),
        ("\u202e\u2066\u2028\u200f", r"\u202e\u2066\u2028\u200f"),
        ("\ud800", r"\ud800"),
        (b"caf\xc3\xa9\xff\x1b", r"caf\u00e9\xff\x1b".replace("\\u00e9", "\u00e9")),
        ("\u00a0\u3000", "\u00a0\u3000"),
    ],
)
def test_examples(text: str | bytes, shown: str) -> None:
    assert visible(text) == shown


def test_a_limit() -> None:
    assert visible("x" * 10, 10) == "x" * 10
    assert visible("x" * 11, 10) == "x" * 10 + "\u2026"
    assert visible(b"x" * 11, 10) == "x" * 10 + "\u2026"


@given(st.one_of(st.text(), st.binary()))
def test_nothing_is_left_that_a_terminal_would_obey(text: str | bytes) -> None:
    shown = visible(text)
    assert is_visible(shown)
    assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in shown)
    assert not any(
        unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for character in shown
    )
    assert visible(shown) == shown


@given(
    st.recursive(st.text(st.characters(codec="utf-8")), lambda inner: st.dictionaries(st.text(st.characters(codec="utf-8")), inner))
)
def test_json_means_the_same(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    escaped = escape_in_json(text)
    assert is_visible(escaped)
    assert json.loads(escaped) == value
