"""Publish figures: ``docs/figures/results.json`` keeps them; the plots beside it and the README's table are made from it.

``run.py --publish`` measures first. ``python tests/bench/publish.py`` only draws again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from plots import draw
from report import Row

ROOT = Path(__file__).parent.parent.parent
FIGURES = ROOT / "docs" / "figures"
RESULTS = FIGURES / "results.json"
BEGIN, END = "<!-- figures: made by tests/bench/publish.py -->\n", "<!-- end of figures -->"

# The README's table: what a row says, the figure that it shows, and the figure that it is compared with.
Key = tuple[str, str, str, str]
SUMMARY: list[tuple[str, Key, str, Key]] = [
    (
        "fragments of 100 B from a generator to a socket",
        ("handover", "hand-over", "100 B", "send_spool"),
        "a plain thread with its own socket",
        ("handover", "hand-over", "100 B", "plain thread (a)"),
    ),
    (
        "the same",
        ("handover", "hand-over", "100 B", "send_spool"),
        "`trio.to_thread.run_sync(next, …)` for each fragment",
        ("handover", "hand-over", "100 B, iterable against", "to_thread.run_sync(next) each"),
    ),
    (
        "an echo beside two busy producers, 99th percentile",
        ("manners", "manners", "2 producers, p99", "send_spool"),
        "two threads that write to sockets themselves",
        ("manners", "manners", "2 producers, p99", "threads that never yield"),
    ),
    (
        "GET, 50 connections, one request at a time",
        ("commands", "commands", "GET, 50 connections, pipelined by 1", "trio-spool"),
        "memcached, four threads",
        ("commands", "commands", "GET, 50 connections, pipelined by 1", "memcached"),
    ),
    (
        "a scan of 1,000,000 documents of 200 B",
        ("scans", "scan", "1,000,000 documents of 200 B", "one continue"),
        "a plain thread with its own cursor and socket",
        ("scans", "scan", "1,000,000 documents of 200 B", "a plain thread"),
    ),
]


def shown(value: float, unit: str) -> str:
    """Return a figure with three digits that count, and its unit."""
    if unit.endswith("/s") and unit != "MB/s":
        unit = "/s"
    if value >= 1e6:
        return f"{value / 1e6:.3g} M{unit}" if unit == "/s" else f"{value / 1e6:.3g} M {unit}"
    number = f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number}{unit}" if unit == "/s" else f"{number} {unit}"


def merge(measured: dict[str, Sequence[Row]], quick: bool) -> None:
    """Replace the published figures of these benchmarks; `quick` is kept beside them, for the reader to know."""
    published = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine: dict[str, object] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    if quick:
        machine["quick"] = True
    for name, rows in measured.items():
        published[name] = {"machine": machine, "rows": [attrs.asdict(row) for row in rows]}
    FIGURES.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(published, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(published: dict[str, Any]) -> str:
    """Return the README's table, in Markdown, of the figures that are there."""
    values = {
        (name, row["bench"], row["case"], row["variant"]): (row["value"], row["unit"])
        for name, content in published.items()
        for row in content["rows"]
    }
    lines = ["| | trio-spool | compared with | |", "|---|---|---|---|"]
    for what, ours, other, theirs in SUMMARY:
        if ours in values and theirs in values:
            lines.append(f"| {what} | {shown(*values[ours])} | {other} | {shown(*values[theirs])} |")
    return "\n".join(lines) + "\n"


def write_readme(published: dict[str, Any]) -> None:
    """Put the table into the README."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no place for the figures: it needs a line {BEGIN.strip()!r} and a line {END!r}")
    path.write_text(before + BEGIN + "\n" + summary(published) + "\n" + END + after, encoding="utf-8")


def main() -> None:
    """Draw the plots again, and write the README's table, which shows no figures of quick runs."""
    published = json.loads(RESULTS.read_text(encoding="utf-8"))
    draw(published, FIGURES)
    quick = sorted({ours[0] for _, ours, _, _ in SUMMARY if published.get(ours[0], {}).get("machine", {}).get("quick")})
    if quick:
        print(f"The README's table stays as it is: the figures of {', '.join(quick)} are those of a quick run.")
    else:
        write_readme(published)


if __name__ == "__main__":
    main()
