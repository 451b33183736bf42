"""Plots of the figures that the documentation shows: one SVG each, narrow enough for a phone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

Rows = list[dict[str, Any]]

OURS, THEIRS, OTHER = "#2a6fb0", "#9a9a9a", "#d08a3c"
# Inches; a phone shows about four of them, and text of 9 points stays readable there.
WIDTH = 5.2

matplotlib.rcParams.update(
    {
        "font.size": 9,
        "svg.fonttype": "none",  # text stays text: small files, and the reader's own font
        "svg.hashsalt": "trio-spool",  # the same figures make the same file
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def value_of(rows: Rows, case: str, variant: str) -> float | None:
    """Return one figure; None if it was not measured."""
    return next((row["value"] for row in rows if row["case"] == case and row["variant"] == variant), None)


def bars(axes: Any, bars_: Sequence[tuple[str, float, str]], *, log: bool = False, ratios: bool = False) -> None:
    """Draw horizontal bars, from the top: label, value, colour; the value stands at the end of each."""
    positions = range(len(bars_))
    axes.barh(positions, [value for _, value, _ in bars_], color=[colour for _, _, colour in bars_], height=0.7)
    axes.set_yticks(positions, [label for label, _, _ in bars_])
    axes.invert_yaxis()
    if log:
        axes.set_xscale("log")
    for position, (_, value, _) in enumerate(bars_):
        axes.annotate(
            f"{value:.2f}" if ratios else short(value),
            (value, position),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.margins(x=0.18)


def short(value: float) -> str:
    """Return a number as a plot shows it."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def handover(rows: Rows) -> Any:
    """Fragments of 100 B, each way of handing them over, on a logarithmic scale."""
    ways = [
        ("plain thread, own socket", "100 B", "plain thread (a)", THEIRS),
        ("send_spool", "100 B", "send_spool", OURS),
        ("open_spool, generator", "100 B", "open_spool, iterable", OURS),
        ("open_spool, function", "100 B", "open_spool, writer", OURS),
        ("aiologic.Queue", "100 B, iterable against", "aiologic queue", OTHER),
        ("to_thread.run_sync(next)", "100 B, iterable against", "to_thread.run_sync(next) each", OTHER),
        ("from_thread.run(send)", "100 B, iterable against", "from_thread.run each", OTHER),
    ]
    found = [(label, value, colour) for label, case, name, colour in ways if (value := value_of(rows, case, name)) is not None]
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.7 + 0.3 * len(found)), layout="constrained")
    bars(axes, found, log=True)
    axes.set_xlabel("fragments of 100 B per second (logarithmic)")
    return figure


def sizes(rows: Rows) -> Any:
    """The ratio to a plain thread, for each size of fragments."""
    cases = [
        case
        for case in ("100 B", "CSV row", "1 kB", "4 kB", "16 kB", "64 kB")
        if value_of(rows, case, "plain thread (a)") is not None
    ]
    ways = [("send_spool", OURS), ("open_spool, iterable", "#7fb2e0"), ("open_spool, writer", OTHER)]
    names = {"open_spool, iterable": "open_spool, generator", "open_spool, writer": "open_spool, function"}
    figure, axes = pyplot.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    for place, (name, colour) in enumerate(ways):
        ratios = [next(row["ratio"] for row in rows if row["case"] == case and row["variant"] == name) for case in cases]
        axes.bar(
            [number + 0.27 * (place - 1) for number in range(len(cases))], ratios, 0.25, color=colour, label=names.get(name, name)
        )
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(cases)), cases)
    axes.set_ylabel("plain thread = 1")
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center", columnspacing=1, handlelength=1.2)
    return figure


def manners(rows: Rows) -> Any:
    """Round trips beside two producers, on a logarithmic scale."""
    cases = [
        ("nothing else", "0 producers", "send_spool", THEIRS),
        ("two spools", "2 producers", "send_spool", OURS),
        ("two processes", "2 producers", "processes of their own", THEIRS),
        ("two plain threads", "2 producers", "threads that never yield", OTHER),
    ]
    found = [
        (f"{label}, {fraction}", value, colour)
        for label, case, name, colour in cases
        for fraction in ("p50", "p99")
        if (value := value_of(rows, f"{case}, {fraction}", name)) is not None
    ]
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.7 + 0.27 * len(found)), layout="constrained")
    bars(axes, found, log=True)
    axes.set_xlabel("echo round trip, ms (logarithmic)")
    return figure


def commands(rows: Rows) -> Any:
    """Commands per second beside memcached's, as a ratio."""
    found = []
    for row in rows:
        if row["variant"] == "trio-spool" and row["ratio"] is not None:
            name, connections, depth = row["case"].split(", ")
            how = "one at a time" if depth == "pipelined by 1" else depth
            found.append((f"{name}, {connections}, {how}", row["ratio"], OURS))
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.7 + 0.27 * len(found)), layout="constrained")
    bars(axes, found, ratios=True)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("memcached with four threads = 1")
    return figure


def streams(published: dict[str, Any]) -> Any:
    """Long answers as a ratio to a plain thread's, or to the same with nothing beside it."""
    wanted = [
        ("scans", "one continue", "scan, one continue"),
        ("fragments", "fragment", "file fragment"),
        ("fragments", "fragment, CRC32-C", "file fragment, CRC32-C"),
    ]
    found = [
        (label, row["ratio"], OURS)
        for bench, variant, label in wanted
        for row in published.get(bench, {"rows": []})["rows"]
        if row["variant"] == variant and row["ratio"] is not None
    ]
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.7 + 0.3 * len(found)), layout="constrained")
    bars(axes, found, ratios=True)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("plain thread with its own socket = 1")
    return figure


def soak(measured: dict[str, Any]) -> Any:
    """What the server held, and how long a client waited, all through a long run."""
    samples = measured["samples"]
    minutes = [(number + 1) * measured["seconds"] / len(samples) / 60 for number in range(len(samples))]
    shown_ = (("memory_mib", "memory, MiB"), ("threads", "threads"), ("descriptors", "open files"), ("p99_ms", "GET, p99, ms"))
    figure, rows = pyplot.subplots(len(shown_), figsize=(WIDTH, 1.2 * len(shown_)), sharex=True, layout="constrained")
    for axes, (name, label) in zip(rows, shown_, strict=True):
        axes.plot(minutes, [sample[name] for sample in samples], color=OURS, linewidth=0.8)
        axes.set_ylabel(label, fontsize=8)
        axes.set_ylim(bottom=0)
    rows[-1].set_xlabel("minutes")
    return figure


def draw_soak(results: Path) -> None:
    """Draw the plot of a long run beside what was measured."""
    _save(soak(json.loads(results.read_text(encoding="utf-8"))), results.with_suffix(".svg"))


def draw(published: dict[str, Any], directory: Path) -> None:
    """Draw every plot whose figures are there."""
    makers = {"handover": handover, "sizes": sizes, "manners": manners, "commands": commands}
    sources = {"sizes": "handover"}
    for name, make in makers.items():
        source = sources.get(name, name)
        if source in published:
            _save(make(published[source]["rows"]), directory / f"{name}.svg")
    if "scans" in published or "fragments" in published:
        _save(streams(published), directory / "streams.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


if __name__ == "__main__":
    draw_soak(Path(sys.argv[1]))
