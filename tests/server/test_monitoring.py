"""The dashboard, the alerts and the page about metrics name metrics that there are, and all that there are are described."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from support.metrics import ask, port_of, values_of
from trio_spool.mcbp import Opcode
from trio_spool.server.metrics import EXPOSED, LIBRARY
from trio_spool.server.shared import Stage

DOCS = Path(__file__).parents[2] / "docs"
MONITORING = DOCS / "examples" / "monitoring"
NAME = re.compile(r"\b(?:trio_spool|process)_[a-z_]+\b")
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: .ci/run takes it from Debian's prometheus")


def expressions() -> list[str]:
    """Return the queries of the dashboard and of the alerts."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries += [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return queries + re.findall(r"^ +expr: (.+)$", (MONITORING / "alerts.yml").read_text(), re.MULTILINE)


async def scraped(run_service: Any, tmp_path: Path) -> str:
    """Return the metrics of a service after some traffic."""
    async with run_service(metrics=("tcp://127.0.0.1:0",), data_dir=tmp_path / "data") as service, service.connect() as raw:
        await raw.call(Opcode.SET, key=b"k", extras=bytes(8))
        await raw.call(Opcode.GET, key=b"k")
        service.inside.incidents.report("writes are refused")
        service.inside.lag.note(0.01)
        return (await ask(port_of(service), "/metrics")).body.decode()


async def test_every_query_finds_its_metrics(run_service, tmp_path) -> None:
    values = values_of(await scraped(run_service, tmp_path))
    names = {name for name, _ in values}
    labels: dict[str, set[str]] = {}
    for name, found in values:
        labels.setdefault(name, set()).update(label for label, _ in found)
    queries = expressions()
    assert len(queries) > 60
    for query in queries:
        used = set(NAME.findall(query))
        assert used <= names, (query, used - names)
        known = set().union(*(labels[name] for name in used), {"job", "instance", "le"})
        for grouping in re.findall(r"by \(([^)]*)\)", query):
            assert set(re.split(r",\s*", grouping)) <= known, query
        for selector in re.findall(r"\{([^{}]*)\}", query):
            assert set(re.findall(r"(\w+)(?:=~?|!=|!~)\"", selector)) <= known, query


async def test_every_value_of_a_label_that_a_query_names_exists(run_service, tmp_path) -> None:
    values = values_of(await scraped(run_service, tmp_path))
    known = {pair for _, labels in values for pair in labels}
    statuses = {("status", name) for name in ("internal", "temporary_failure", "not_found")}
    wanted = {
        (label, value)
        for query in expressions()
        for label, value in re.findall(r"(\w+)=\"(\w[^\"$]*)\"", query)
        if label not in ("job", "instance")
    }
    assert ("state", "broken") in wanted
    assert wanted - known - statuses == set()
    assert {stage.value for stage in Stage} == {value for label, value in known if label == "stage"}


def test_legends_name_labels_of_their_metrics() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    labels = {metric.full_name: {*metric.labels, "instance"} for metrics in EXPOSED.values() for metric in metrics}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            bases = {
                re.sub(r"_(bucket|sum|count)$", "", name) if name not in labels else name for name in NAME.findall(target["expr"])
            }
            known = set().union(*(labels.get(base, {"instance"}) for base in bases))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known, target
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_page_describes_every_metric() -> None:
    page = (DOCS / "metrics.rst").read_text()
    assert re.findall(r"^\.\. metrics:: (.+)$", page, re.MULTILINE) == list(EXPOSED)
    for name in LIBRARY:
        assert f"``{name}``" in page


@needs_promtool
async def test_promtool_finds_nothing_wrong_with_the_metrics(run_service, tmp_path) -> None:
    text = await scraped(run_service, tmp_path)
    run = await trio.run_process(
        [PROMTOOL, "check", "metrics"], stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong_with_the_files(arguments: list[str]) -> None:
    run = subprocess.run([PROMTOOL, *arguments], cwd=MONITORING, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "SUCCESS" in run.stdout


@needs_promtool
def test_the_queries_of_the_dashboard_can_be_parsed(tmp_path) -> None:
    """promtool reads rules, and a rule may be any query."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = [{"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML as well
    run = subprocess.run([PROMTOOL, "check", "rules", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert f"{len(queries)} rules found" in run.stdout
