"""Reading and editing JSON by path, from bytes to bytes, in pieces of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from trio_spool.engine import _json_edits, _json_paths
from trio_spool.engine._json_document import Document
from trio_spool.engine._json_grammar import PIECE

# Pieces so small that everything is cut up, and the usual ones.
PIECES = (7, 16, 100, PIECE)
_READING = ("get", "exists", "count")
_EDITING = ("add", "upsert", "replace", "remove", "push_last", "push_first", "insert", "add_unique", "counter")


def _on_bytes(function: Callable[..., Any], *, edits: bool) -> Callable[..., Any]:
    @wraps(function)
    def call(data: bytes, *arguments: Any, piece: int = PIECE) -> Any:
        document = Document(data, piece=piece)
        result = function(document, *arguments)
        if not edits:
            return result
        return document.content if result is None else (document.content, result)

    return call


paths = SimpleNamespace(**{name: _on_bytes(getattr(_json_paths, name), edits=False) for name in _READING})
edits = SimpleNamespace(**{name: _on_bytes(getattr(_json_edits, name), edits=True) for name in _EDITING})
