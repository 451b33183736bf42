"""The directive ``figures``: a table of the published figures of one benchmark, with where they were measured.

``.. figures:: handover`` shows what ``docs/figures/results.json`` has under that name.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parent.parent / "figures" / "results.json"


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(text: str, *, across: int = 1, strong: bool = False) -> nodes.entry:
    entry = nodes.entry()
    if across > 1:
        entry["morecols"] = across - 1
    paragraph = nodes.paragraph()
    paragraph += nodes.strong(text, text) if strong else nodes.Text(text)
    entry += paragraph
    return entry


def _row(*cells: nodes.entry) -> nodes.row:
    row = nodes.row()
    row.extend(cells)
    return row


def table_of(rows: list[dict[str, Any]]) -> nodes.table:
    """Return a table of three columns that fits a phone: each case is a line across it, above its variants."""
    table = nodes.table(classes=["figures", "colwidths-given"])
    group = nodes.tgroup(cols=3)
    table += group
    group.extend(nodes.colspec(colwidth=width) for width in (50, 32, 18))
    head, body = nodes.thead(), nodes.tbody()
    head += _row(_cell("what"), _cell("median"), _cell("ratio"))
    group.extend((head, body))
    for (bench, case), members in groupby(rows, key=lambda row: (row["bench"], row["case"])):
        variants = list(members)
        units = {row["unit"] for row in variants}
        unit = f" ({units.pop()})" if len(units) == 1 else ""
        body += _row(_cell(f"{bench}: {case}{unit}", across=3, strong=True))
        for row in variants:
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            value = _number(row["value"]) if unit else f"{_number(row['value'])} {row['unit']}"
            body += _row(_cell(row["variant"]), _cell(value), _cell(ratio))
    return table


class Figures(SphinxDirective):
    """Show the figures of one benchmark."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table, and a line that says where it was measured and how."""
        name = self.arguments[0]
        self.env.note_dependency(str(RESULTS))
        published = json.loads(RESULTS.read_text(encoding="utf-8"))
        if name not in published:
            missing = nodes.paragraph(classes=["figures-source"])
            missing += nodes.Text("No figures are published yet. This command measures them: ")
            missing += nodes.literal(text=f"nox -s bench -- --publish {name}")
            return [missing]
        machine = published[name]["machine"]
        source = nodes.paragraph(classes=["figures-source"])
        source += nodes.literal(text=f"nox -s bench -- {name}")
        runs = ", smaller and fewer runs (--quick)" if machine.get("quick") else ""
        source += nodes.Text(f": Python {machine['python']}, {machine['system']}, {machine['cores']} cores{runs}.")
        return [table_of(published[name]["rows"]), source]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("figures", Figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
