"""The README and the project's metadata: what they say agrees, and the README's example works."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
import trio.testing

import trio_spool
import trio_spool.asgi
import trio_spool.asyncio
import trio_spool.client
import trio_spool.server
import trio_spool.testing
from trio_spool.cli import main as cli

if sys.version_info < (3, 11):
    import tomli as tomllib
else:
    import tomllib

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_first_screen_has_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:40])
    blocks = re.findall(r"^```\n(.*?)^```$", first_screen, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if re.match(r"[a-z]", line)]
    assert commands == ["pip install . && trio-spool serve", "pip install nox && nox"]


def test_links_work_from_a_package_index() -> None:
    targets = re.findall(r"^\[\w+\]: (\S+)$", README, re.MULTILINE)
    assert targets
    assert not re.search(r"\]\((?!https://)", README), "a link that only works inside the repository"
    known = tuple(PROJECT["urls"].values())
    for target in targets:
        assert target.startswith((*known, "https://trio.readthedocs.io")), target


def test_links_lead_to_pages() -> None:
    """Pages of the documentation are made from files of the same name."""
    documentation = PROJECT["urls"]["Documentation"]
    pages = [target.removeprefix(documentation) for target in re.findall(r"^\[\w+\]: (\S+)$", README, re.MULTILINE)]
    pages = [page for page in (*pages, PROJECT["urls"]["Changelog"].removeprefix(documentation)) if page.endswith(".html")]
    assert pages
    for page in pages:
        assert (ROOT / "docs" / page).with_suffix(".rst").exists(), page
    (examples,) = re.findall(r"^\[examples\]: \S+/tree/main/(\S+)$", README, re.MULTILINE)
    assert (ROOT / examples).is_dir()


def test_every_reference_has_a_link() -> None:
    defined = set(re.findall(r"^\[(\w+)\]: ", README, re.MULTILINE))
    assert set(re.findall(r"\]\[(\w+)\]", README)) == defined


def test_classifiers_name_the_pythons() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    pythons = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert pythons[0] == oldest
    assert f"Python {pythons[0]} to {pythons[-1]}" in README


def test_version_is_one() -> None:
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    assert "version" in PROJECT["dynamic"]
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == trio_spool.__version__


async def test_library_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's first program streams its rows."""
    monkeypatch.chdir(tmp_path)
    database = sqlite3.connect("shop.db")
    with database:
        database.execute("CREATE TABLE orders (id INTEGER, total INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(1, 10), (2, 20)])
    database.close()
    program = next(code for language, code in BLOCKS if language == "python" and "open_sender" in code)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(program, "README.md", "exec"), names)
    ours, theirs = trio.testing.memory_stream_pair()
    await names["handle"](ours)
    assert b"".join([data async for data in theirs]) == b"1,10\r\n2,20\r\n"

    database = sqlite3.connect("shop.db")  # the query fails now, and its client can tell
    database.execute("DROP TABLE orders")
    database.close()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, names["handle"], 0)
        async with await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_examples_compile(code: str) -> None:
    compile(code, "README.md", "exec")


def test_figures_are_those_of_the_documentation() -> None:
    """The table is made by `tests/bench/publish.py`; a figure in it is one that was measured."""
    published = json.loads((ROOT / "docs" / "figures" / "results.json").read_text(encoding="utf-8"))
    values = [row["value"] for content in published.values() for row in content["rows"]]
    table = README.partition("<!-- figures")[2].partition("<!-- end of figures")[0]
    shown = re.findall(r"\| ([\d.,]+)( M)?(?:/s| \w+) (?=\|)", table)
    assert shown
    for number, million in shown:
        value = float(number.replace(",", "")) * (1e6 if million else 1)
        assert any(value == pytest.approx(measured, rel=0.006) for measured in values), number


def test_every_command_is_in_the_reference() -> None:
    """The page names the commands in the order in which it shows them; each must be one of them."""
    page = (ROOT / "docs" / "cli.rst").read_text(encoding="utf-8")
    (names,) = re.findall(r":commands: (.*)", page)
    assert sorted(names.split(", ")) == sorted(cli.list_commands(click.Context(cli)))


def test_every_page_of_the_documentation_can_be_reached() -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.rst")}
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    assert set(re.findall(r"^   (\w+)$", index, re.MULTILINE)) | {"index"} == pages


@pytest.mark.parametrize(
    "module",
    [trio_spool, trio_spool.asgi, trio_spool.asyncio, trio_spool.client, trio_spool.server, trio_spool.testing],
    ids=lambda module: module.__name__,
)
def test_what_a_package_exports_is_in_its_reference(module: ModuleType) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.rst"))
    documented = {name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: ([\w.]+)", pages, re.MULTILINE)}
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    exported = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname}
    assert exported - documented - {"__version__", "Service", "Tuning"} == set()  # a program runs a service by `serve`
