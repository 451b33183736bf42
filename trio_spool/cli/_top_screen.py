"""The report of ``top`` as lines of text that fit a terminal. Imported late, because rich takes long to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from .._formats import visible
from ._timings import show_microseconds, three_digits
from ._top_report import COMMANDS

_GAP: Final = "  "
# Cells to which a column of text may be cut before a column is left out: picked. An IPv4 address with a port needs 21.
_LEAST: Final = 12
_BYTES: Final = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_COUNTS: Final = (("G", 1_000_000_000), ("M", 1_000_000), ("k", 10_000))
_TROUBLES: Final = {"evictions": "evictions", "rejected_connections": "refused connections", "auth_errors": "refused logins"}
_TIMES: Final = (("d", 86400), ("h", 3600), ("m", 60))


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: Its title.
        show: Returns the text of a cell.
        rank: The columns with the highest rank are left out first where there is no room.
        is_text: Whether it stands at the left, and may be cut.
        least: The cells to which it may be cut before a column is left out.
    """

    title: str
    show: Callable[[Mapping[str, Any]], str]
    rank: int = 0
    is_text: bool = False
    least: int = _LEAST


def lines(report: Mapping[str, Any], width: int, height: int, order: str) -> list[str]:
    """Return the lines of a report, none of which is wider than the terminal.

    Args:
        report: The report.
        width: The number of columns of the terminal.
        height: The number of lines that there is room for.
        order: By what connections are busy.
    """
    head = [*_flow(_head(report), width), ""]
    tables = [
        _table(f"{title} ({len(rows)})" if len(rows) > 3 else title, columns, rows, width)
        for title, columns, rows in _tables(report, order)
        if rows
    ]
    tail = [*_flow([f"not shown: {name}: {reason}" for name, reason in report["missing"].items()], width)]
    return [*head, *_shared(tables, height - len(head) - len(tail)), *tail]


def _shared(tables: Sequence[list[str]], room: int) -> Iterator[str]:
    """Yield as much of each table as there is room for: what one does not need, those after it may have."""
    for number, table in enumerate(tables):
        share = max(room // (len(tables) - number), 3)
        shown = table[: share - 1]
        yield from shown
        yield ""
        room -= len(shown) + 1


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    general, rates = report["general"], report["rates"]
    yield f"{report['server']} {visible(report['version'], 20)}".rstrip()
    if "uptime" in general:
        yield f"up {show_seconds(general['uptime'])}"
    if report["restarted"]:
        yield "HAS RESTARTED"
    if rates:
        yield f"{show_count(rates['commands'])} commands/s"
        for name, word in (("bytes_read", "in"), ("bytes_written", "out")):
            if name in rates:
                yield f"{word} {show_bytes(rates[name])}/s"
        yield from _hits(rates)
    if "curr_connections" in general:
        yield f"connections {show_count(general['curr_connections'])}" + _of(general.get("max_connections"))
    if "curr_items" in general:
        yield f"items {show_count(general['curr_items'])}"
    yield from _inside(report)


def _hits(rates: Mapping[str, float]) -> Iterator[str]:
    asked = rates.get("get_hits", 0) + rates.get("get_misses", 0)
    if asked:
        yield f"hits {100 * rates.get('get_hits', 0) / asked:.0f} %"
    for name, words in (
        ("evictions", "evictions"),
        ("rejected_connections", "refused connections"),
        ("auth_errors", "refused logins"),
    ):
        if rates.get(name):
            yield f"{show_count(rates[name])} {words}/s"


def _inside(report: Mapping[str, Any]) -> Iterator[str]:
    loop, spool, engine = (report.get(name, {}) for name in ("loop", "spool", "engine"))
    if "lag" in loop:
        yield f"loop lag {show_microseconds(loop['lag'])}"
    if "workers_busy" in spool:
        yield f"workers {show_count(spool['workers_busy'])}{_of(spool.get('workers'))} busy"
    if spool.get("producers_waiting_for_worker"):
        yield f"{show_count(spool['producers_waiting_for_worker'])} wait for one"
    if "depth" in spool:
        yield f"spooled {show_bytes(spool['depth'])}"
    if "buffered" in spool:
        yield f"held {show_bytes(spool['buffered'])}"
    if "commits" in engine.get("rates", {}):
        yield f"{show_count(engine['rates']['commits'])} commits/s"
    if engine.get("queued"):
        yield f"{show_count(engine['queued'])} writes queued"
    if (scans := report.get("scans")) is not None and scans["open"] is not None:
        yield f"scans {show_count(scans['open'])}{_of(scans['open_max'])}"


def _of(most: float | None) -> str:
    return "" if most is None else f" of {show_count(most)}"


def _tables(report: Mapping[str, Any], order: str) -> Iterator[tuple[str, Sequence[Column], list[Mapping[str, Any]]]]:
    commands: list[Mapping[str, Any]] = [
        {"command": name, **figures, "note": "since its reset" if figures["since"] == "reset" else None}
        for name, figures in report["commands"].items()
    ]
    commands.sort(key=lambda each: -(each["rate"] or 0))
    yield "commands", _COMMANDS, commands
    yield "tasks", _TASKS, [*report.get("tasks", []), *map(_as_task, report.get("background", []))]
    yield "scans", _SCANS, report.get("scans", {}).get("running", [])
    by = "commands" if order == COMMANDS else "bytes"
    yield f"connections, by {by}", _CONNECTIONS, [{**each, **each["rates"]} for each in report.get("connections", [])]


def _as_task(background: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**background, "command": background.get("work"), "key": background.get("description")}


def _cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    def show(row: Mapping[str, Any]) -> str:
        value = row.get(name)
        return "" if value is None else visible(str(value), 200)

    return show


def _shown(name: str, show: Callable[[float], str]) -> Callable[[Mapping[str, Any]], str]:
    def cell(row: Mapping[str, Any]) -> str:
        value = row.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e30
        return show(float(value)) if number and value is not None else ""

    return cell


def show_count(count: float) -> str:
    """Return a number with three digits, and a letter for thousands, millions or more."""
    for unit, factor in _COUNTS:
        if count >= factor:
            return f"{three_digits(count / (1000 if unit == 'k' else factor))}{unit}"
    return three_digits(count)


def show_bytes(size: float) -> str:
    """Return a number of bytes with three digits and a unit."""
    for unit, factor in _BYTES:
        if size >= factor:
            return f"{three_digits(size / factor)} {unit}"
    return f"{three_digits(size)} B"


def show_seconds(seconds: float) -> str:
    """Return a time span in its two largest units."""
    for place, (unit, factor) in enumerate(_TIMES):
        if seconds >= factor:
            smaller, part = (_TIMES + (("s", 1),))[place + 1]
            return f"{int(seconds // factor)}{unit} {int(seconds % factor // part)}{smaller}"
    return f"{three_digits(seconds)}s"


_COMMANDS: Final = (
    Column("command", _cell("command"), is_text=True),
    Column("/s", _shown("rate", show_count)),
    Column("mean", _shown("mean", show_microseconds), 2),
    Column("p50", _shown("p50", show_microseconds), 1),
    Column("p99", _shown("p99", show_microseconds)),
    Column("latencies", _cell("note"), 3, is_text=True),
)
_CONNECTIONS: Final = (
    Column("peer", _cell("peer"), is_text=True, least=21),
    Column("in/s", _shown("bytes_read", show_bytes), 1),
    Column("out/s", _shown("bytes_written", show_bytes)),
    Column("cmds/s", _shown("commands", show_count), 2),
    Column("held", _shown("held", show_bytes), 5),
    Column("user", _cell("user"), 4, is_text=True),
    Column("bucket", _cell("bucket"), 6, is_text=True),
    Column("agent", _cell("agent"), 7, is_text=True),
    Column("waits for", _cell("waits_for"), 3, is_text=True),
)
_TASKS: Final = (
    Column("command", _cell("command"), is_text=True),
    Column("for", _shown("seconds", show_seconds)),
    Column("bucket", _cell("bucket"), 3, is_text=True),
    Column("connection", _cell("connection"), 2, is_text=True),
    Column("what", _cell("key"), 1, is_text=True),
)
_SCANS: Final = (
    Column("scan", _cell("uuid"), is_text=True),
    Column("name", _cell("name"), 1, is_text=True),
    Column("state", _cell("state"), 2, is_text=True),
    Column("bucket", _cell("bucket"), 3, is_text=True),
    Column("for", _shown("age", show_seconds)),
)


def _flow(phrases: Iterable[str], width: int) -> Iterator[str]:
    """Yield lines of phrases, none of which is broken unless it is wider than a line."""
    line = ""
    for phrase in phrases:
        if line and cell_len(line) + len(_GAP) + cell_len(phrase) > width:
            yield line
            line = ""
        line = f"{line}{_GAP}{phrase}" if line else phrase
        while cell_len(line) > width:
            first = set_cell_size(line, width)
            yield first
            line = line[len(first.rstrip()) :].lstrip()
    if line:
        yield line


def _table(title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """Return the lines of a table: its title, the names of its columns, and its rows."""
    shown = [[column.show(row) for row in rows] for column in columns]
    kept = [(column, cells) for column, cells in zip(columns, shown, strict=True) if any(cells)]
    widths = [max(map(cell_len, (column.title, *cells))) for column, cells in kept]
    while sum(widths) + len(_GAP) * (len(kept) - 1) > width and kept:
        over = sum(widths) + len(_GAP) * (len(kept) - 1) - width
        texts = [place for place, (column, _) in enumerate(kept) if column.is_text and widths[place] > column.least]
        if texts:
            place = max(texts, key=lambda place: widths[place])
            widths[place] = max(kept[place][0].least, widths[place] - over)
        elif len(kept) > 1:
            place = max(range(len(kept)), key=lambda place: kept[place][0].rank)
            del kept[place], widths[place]
        else:
            widths[0] = width
    names = [_padded(column.title, size, column) for (column, _), size in zip(kept, widths, strict=True)]
    body = [
        _GAP.join(_padded(cells[number], size, column) for (column, cells), size in zip(kept, widths, strict=True)).rstrip()
        for number in range(len(rows))
    ]
    return [set_cell_size(title.upper(), width).rstrip(), _GAP.join(names).rstrip(), *body]


def _padded(text: str, width: int, column: Column) -> str:
    size = cell_len(text)
    if size > width:
        return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)
    return text + " " * (width - size) if column.is_text else " " * (width - size) + text
