"""Rules that the source keeps to."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trio_spool

PACKAGE = Path(trio_spool.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = [
    "trio_spool",
    "trio_spool._core",
    "trio_spool._files",
    "trio_spool.mcbp",
    "trio_spool.engine",
    "trio_spool.server",
    "trio_spool.client",
    "trio_spool.auth",
    "trio_spool.testing",
    "trio_spool.asgi",
    "trio_spool.uploads",
    "trio_spool.wsgi",
]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_only_outlets_write_to_streams() -> None:
    """The sender of a stream owns its outlet, one for each kind of stream; nobody else has one."""
    functions = {"send_all", "sendall", "sendmsg", "sendto", "sendfile", "sock_sendall", "sock_sendto"}
    calls = ("os.write", "os.writev", "self._socket.send", "self._transport.write", "self._transport.writelines")
    found = set()
    for path in SOURCES:
        attributes = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if names_in(path) & functions or attributes.intersection(calls):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert "_core/trio/_outlet.py" in found
    assert all(name.endswith("_outlet.py") for name in found), found


def test_commands_never_see_a_stream() -> None:
    for path in [*(PACKAGE / "server" / "commands").glob("*.py"), *(PACKAGE / "server" / "binary").glob("*.py")]:
        assert not names_in(path) & {"Sender", "SocketStream", "Stream", "SendStream", "ReceiveStream"}, path


@pytest.mark.parametrize("name", PUBLIC)
def test_exports_agree_with_names(name: str) -> None:
    module = importlib.import_module(name)
    tree = ast.parse(Path(module.__file__).read_text())
    functions = {inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    for node in set(ast.walk(tree)) - functions:
        if (
            isinstance(node, ast.ImportFrom)
            and Path(module.__file__).name == "__init__.py"
            and node.module not in ("__future__", "typing")
        ):
            for alias in node.names:
                assert alias.asname == alias.name, f"{name} imports {alias.name} without re-exporting it"
                assert hasattr(module, alias.name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


def test_what_is_public_has_a_docstring() -> None:
    for name in PUBLIC:
        module = importlib.import_module(name)
        assert module.__doc__
        for exported in (getattr(module, attribute) for attribute in dir(module) if not attribute.startswith("_")):
            if callable(exported) and getattr(exported, "__module__", "").startswith("trio_spool"):
                assert exported.__doc__, exported


@pytest.mark.parametrize(
    ("imported", "forbidden"),
    [
        (
            "trio_spool",
            {"lmdb", "click", "rich", "structlog", "prometheus_client", "platformdirs", "trio_spool.engine", "trio_spool.mcbp"},
        ),
        ("trio_spool.mcbp", {"lmdb", "click"}),
        ("trio_spool.client", {"lmdb", "click", "trio_spool.engine", "trio_spool.server"}),
        ("trio_spool.engine", {"lmdb", "click", "trio_spool.server"}),
        ("trio_spool.asgi", {"lmdb", "click", "starlette", "anyio", "trio_spool.engine", "trio_spool.mcbp"}),
    ],
)
def test_imports_load_no_more_than_they_need(imported: str, forbidden: set[str]) -> None:
    script = f"import sys, {imported}; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout.split())
    assert not loaded & forbidden


def test_files_are_about_one_thing() -> None:
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 400, path


def test_nothing_names_a_machine() -> None:
    pattern = re.compile(r"/(?:home|root|work|Users)/\w+")
    for path in SOURCES:
        assert not pattern.search(path.read_text()), path
