"""The log of ``trio-spool serve``: how lines look, and which ones are written.

This is the one module that configures logging. The library and the service only log, by structlog or by the standard library's
logging, and whoever embeds them decides what becomes of it. Here all goes through one formatter: the service's lines, those of
engines, of Trio and of other libraries, Python's warnings, and errors that nobody could catch.

Text that clients choose (keys, the names of users and agents) can be in any line. So nothing that a terminal would obey is written,
a value can't be taken for another field, and what has several lines (a traceback) is indented: no line that begins with a time is
anybody's but ours.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from structlog.dev import Column, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.typing import EventDict, Processor

from .._formats import escape_in_json, visible
from . import _streams
from ._log_writer import MAX_LINE, LogWriter, standard_error

FORMATS: Final = ("auto", "text", "json")
# Characters of one value. Picked, not measured: longer than any message of ours. A traceback may have more.
_MAX_VALUE: Final = 2000
_MAX_TRACEBACK: Final = 32_000
# Escape sequences of terminals.
_RESET, _BOLD, _DIM, _KEY = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m"
_LEVEL_COLORS: Final = {
    "debug": _DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m",
}  # fmt: skip


class Log:
    """The log while it is set up.

    Args:
        writer: Writes lines.
        terminal: Whether lines go to a terminal.
    """

    def __init__(self, writer: LogWriter, *, terminal: bool) -> None:
        self._writer = writer
        self._terminal = terminal
        self._handler = _Handler(writer)

    def change(self, level: str, format_: str) -> None:
        """Write the lines from a level on, in a format of `FORMATS`. Any thread may call it."""
        text = format_ == "text" or (format_ == "auto" and self._terminal)
        self._handler.setFormatter(_formatter(_text(colors=text and self._terminal and _colors_wanted()) if text else _json))
        logging.getLogger().setLevel(level.upper())

    def install(self, level: str, format_: str) -> None:
        """Send everything here that is logged from now on."""
        self.change(level, format_)
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                *_COMMON,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=False,
        )

    def lost(self, count: int) -> str:
        """Return the line that says how many lines were lost."""
        return self._handler.format_own("lines of the log were lost", lines=count)


@contextmanager
def logging_to_stderr(level: str, format_: str) -> Iterator[Log]:
    """Write the log to standard error until the block ends. What was set up before is then set up again.

    If nobody reads standard error, the end of the block waits no longer than a second, and nothing more is written there.
    """
    log: Log
    writer = LogWriter(standard_error(), lambda count: log.lost(count))
    log = Log(writer, terminal=sys.stderr.isatty())
    with _restored():
        log.install(level, format_)
        warnings.showwarning = _log_warning
        sys.unraisablehook = _log_unraisable
        threading.excepthook = _log_thread_error
        try:
            yield log
        finally:
            if not writer.close():
                _streams.drop_errors()


@contextmanager
def _restored() -> Iterator[None]:
    """Restore, at the end of the block, everything that `logging_to_stderr` changes."""
    root = logging.getLogger()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config().copy()
    hooks = warnings.showwarning, sys.unraisablehook, threading.excepthook
    try:
        yield
    finally:
        warnings.showwarning, sys.unraisablehook, threading.excepthook = hooks
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**config)


class _Handler(logging.Handler):
    """Hands each line to a writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record))
        except Exception as exc:  # the arguments of some library's line: the log must not end what it tells about
            event = "a line of the log can't be formatted"
            self._writer.put(self.format_own(event, of=visible(record.name, 100), error=type(exc).__name__))

    def format_own(self, event: str, **details: object) -> str:
        """Return a warning of the log about itself."""
        line = {**details, "event": event, "level": "warning", "logger": "trio_spool", "timestamp": _now()}
        return self.format(logging.makeLogRecord({"msg": line, "levelname": "WARNING", "_logger": None, "_name": "warning"}))


def _formatter(render: Processor) -> logging.Formatter:
    without_meta: Processor = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    processors: list[Processor] = [without_meta, structlog.processors.format_exc_info, _in_order, render]
    return structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=list(_COMMON))


# What all lines have


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_time(logger: object, method: str, event: EventDict) -> EventDict:
    event["timestamp"] = _now()
    return event


_COMMON: Final[tuple[Processor, ...]] = (structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, _add_time)


def _in_order(logger: object, method: str, event: EventDict) -> EventDict:
    """Put first what every line has."""
    first = {name: event.pop(name, "") for name in ("timestamp", "level", "logger", "event")}
    return {**first, **event}


# As JSON


def _json(logger: object, method: str, event: EventDict) -> str:
    details = {name: _cut(name, value) for name, value in event.items()}
    line = _object(details)
    while len(line.encode("utf-8", "backslashreplace")) > MAX_LINE:  # where the writer would cut it, and leave no JSON
        longest = max(details, key=lambda name: len(str(details[name])))
        text = str(details[longest])
        details[longest] = text[: len(text) // 2] + "…"
        line = _object(details)
    return line


def _object(details: dict[str, object]) -> str:
    try:
        text = json.dumps(details, default=_plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # infinity, a key that is no text, a list in itself: JSON has none of them
        plain = {name: value if isinstance(value, (str, int)) else _plain(value) for name, value in details.items()}
        text = json.dumps(plain, default=_plain, ensure_ascii=False, allow_nan=False)
    return escape_in_json(text)


def _cut(name: str, value: object) -> object:
    if isinstance(value, bytes):
        value = visible(value)
    limit = _MAX_TRACEBACK if name == "exception" else _MAX_VALUE
    if isinstance(value, str) and len(value) > limit:
        return value[:limit] + "…"
    return value


def _plain(value: object) -> object:
    """Return something that JSON has in place of something that it lacks."""
    return list(value) if isinstance(value, (set, frozenset, tuple)) else visible(str(value), _MAX_VALUE)


# As text


def _text(*, colors: bool) -> Processor:
    """Return what makes lines that people read: the time, the level, what happened, and then ``name=value`` for each detail."""
    reset, bold, dim, key = (_RESET, _BOLD, _DIM, _KEY) if colors else ("", "", "", "")
    columns = [
        Column("", KeyValueColumnFormatter(key, "", reset, _value)),
        Column("timestamp", KeyValueColumnFormatter(None, dim, reset, str)),
        Column("level", LogLevelColumnFormatter({name: color if colors else "" for name, color in _LEVEL_COLORS.items()}, reset)),
        Column("event", KeyValueColumnFormatter(None, bold, reset, _event, width=30)),
    ]
    render = structlog.dev.ConsoleRenderer(columns=columns, sort_keys=False)

    def text(logger: Any, method: str, event: EventDict) -> str:
        if event["logger"].startswith("trio_spool"):
            del event["logger"]  # it is the same in nearly all lines
        else:
            event["logger"] = event.pop("logger")
        if "exception" in event:
            event["exception"] = _indented(event["exception"])
        return str(render(logger, method, event))

    return text


def _event(value: object) -> str:
    return visible(str(value), _MAX_VALUE)


def _value(value: object) -> str:
    """Return a value so that it can't be taken for anything else, in quotes if it has to be."""
    if isinstance(value, float) and abs(value) < 1:
        return f"{value:.6f}".rstrip("0").rstrip(".")  # and not 3.4e-05
    if isinstance(value, (bool, int, float)) or value is None:
        return json.dumps(value)
    if isinstance(value, (str, bytes)):
        text = visible(value, _MAX_VALUE)
        plain = text and not any(mark in text for mark in " =\"'{[") and text not in ("true", "false", "null")
        return text if plain else json.dumps(text, ensure_ascii=False)
    return escape_in_json(json.dumps(_as_json(value), default=_plain, ensure_ascii=False))


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, (set, frozenset, tuple)) else value


def _indented(traceback: str) -> str:
    text = traceback if len(traceback) <= _MAX_TRACEBACK else traceback[:_MAX_TRACEBACK] + "…"
    return "\n".join("    " + visible(line) for line in text.split("\n"))


def _colors_wanted() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# What Python would print by itself

_log: Final = structlog.stdlib.get_logger("trio_spool")


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: object = None, line: str | None = None
) -> None:
    _log.warning("Python warns", category=category.__name__, message=str(message), file=f"{filename}:{lineno}")


def _log_unraisable(unraisable: Any) -> None:
    _log.error(
        "an error was ignored", where=unraisable.err_msg or "", object=repr(unraisable.object), exc_info=unraisable.exc_value
    )


def _log_thread_error(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is not SystemExit:
        name = "" if arguments.thread is None else arguments.thread.name
        _log.error("a thread has ended with an error", thread=name, exc_info=arguments.exc_value)
