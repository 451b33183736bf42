"""What a benchmark measures, and how it is shown."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table


@attrs.frozen
class Row:
    """One figure.

    Attributes:
        bench: The benchmark.
        case: What was measured: for instance the size of the fragments.
        variant: How it was done.
        value: The median.
        unit: Its unit.
        ratio: The value relative to the one it is compared with, measured in the same run; None if that is itself.
        target: What the ratio, or the value, is to reach, in words.
    """

    bench: str
    case: str
    variant: str
    value: float
    unit: str
    ratio: float | None = None
    target: str = ""


def interleaved(runs: int, variants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure every variant, in turn, several times, so that a change of the machine's speed meets all of them."""
    measured: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(runs):
        for name, measure in variants.items():
            measured[name].append(measure())
    return measured


def median_ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the ratios, pair by pair."""
    return statistics.median(value / other for value, other in zip(values, reference, strict=True))


def print_rows(rows: Sequence[Row]) -> None:
    """Print a table."""
    table = Table("benchmark", "case", "variant", "median", "unit", "ratio", "to reach")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:,.2f}"
        table.add_row(
            row.bench,
            row.case,
            row.variant,
            f"{row.value:,.4g}" if row.value < 1000 else f"{row.value:,.0f}",
            row.unit,
            ratio,
            row.target,
        )
    Console(width=150).print(table)


def write(rows: Sequence[Row], directory: Path) -> None:
    """Write JSON, and a plot of the ratios."""
    directory.mkdir(exist_ok=True)
    machine = {"python": sys.version, "platform": platform.platform(), "cores": os.cpu_count()}
    content = {"machine": machine, "rows": [attrs.asdict(row) for row in rows]}
    (directory / "bench.json").write_text(json.dumps(content, indent=1))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.ratio is not None and row.ratio > 0]
    if not shown:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.28 * len(shown)))
    labels = [f"{row.bench}: {row.case}, {row.variant}" for row in shown]
    axes.barh(labels, [row.ratio for row in shown], color="#4c78a8")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("ratio to the reference of the same run")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(directory / "bench.svg")
