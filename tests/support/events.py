"""What the log of ``trio-spool serve`` can say: found in the source."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import trio_spool
from trio_spool.server.shared import _admission
from trio_spool.server.shared._timekeeper import Overdue
from trio_spool.server.supervision import _supervisor

PACKAGE = Path(trio_spool.__file__).parent
# What a server does not run.
_ELSEWHERE = ("asgi", "asyncio", "client", "streams", "testing", "uploads", "wsgi")
LEVELS = ("debug", "info", "warning", "error", "critical")
_LOG = re.compile(r"(.*\.)?_?(log|lines|logger|write)")
_INCIDENTS = re.compile(r"(.*\.)?_?incidents\.report|self\._report")

# Events that are no literals where they are logged: what they are, by the module and the expression that stands there.
_NAMED: dict[str, Callable[[], list[str]]] = {
    "server/shared/_timekeeper.py: overdue.event": lambda: [each.event for each in Overdue if each is not Overdue.IDLE],
    "server/_reception.py: refusal.event": lambda: [_admission.NO_PLACE, _admission.NO_PLACE_FOR_ADDRESS],
    "server/supervision/_supervisor.py: event": lambda: [_supervisor.NO_WATCHDOG, _supervisor.UNUSED],
    # These pass on what their callers say, or take something else.
    "server/_connection.py: event": list,
    "server/http/_connection.py: exc": list,
}
# Events that are logged in another way, and where.
_OTHERS = {
    "stopped": ("cli/_server_process.py", {"info", "error"}),
    "lines of the log were lost": ("cli/_logging.py", {"warning"}),
}


def _calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls that log something, with the level."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            owner, _, method = called.rpartition(".")
            if _INCIDENTS.fullmatch(called):
                levels = [each.value for each in node.keywords if each.arg == "level"]
                yield node, ast.literal_eval(levels[0]) if levels else "warning"
            elif method in (*LEVELS, "exception") and _LOG.fullmatch(owner):
                yield node, "error" if method == "exception" else method


def events() -> dict[str, set[str]]:
    """Return each event, with ``…`` for what is filled in, and its levels."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in _ELSEWHERE:
            continue
        for call, level in _calls(path):
            for text in _texts(call.args[0], place):
                found.setdefault(_filled_in(text), set()).add(level)
    for text, (place, levels) in _OTHERS.items():
        assert f'"{text}' in (PACKAGE / place).read_text(encoding="utf-8"), text
        found.setdefault(text, set()).update(levels)
    return found


def _filled_in(text: str) -> str:
    return re.sub("…+", "…", " ".join(re.sub(r"%[sdg]", "…", text).split()))


def _texts(event: ast.expr, place: Path) -> list[str]:
    if isinstance(event, ast.Constant) and isinstance(event.value, str):
        return [event.value]
    written = ast.unparse(event)
    if isinstance(event, ast.Name):
        module = importlib.import_module(".".join(("trio_spool", *place.with_suffix("").parts)))
        if isinstance(text := getattr(module, written, None), str):
            return [text]
    if (name := f"{place.as_posix()}: {written}") in _NAMED:
        return _NAMED[name]()
    raise AssertionError(f"which events are these? {name}")
