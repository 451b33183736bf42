"""What CI runs: ``nox`` alone runs the tests on every Python there is, the type checkers, the linters, and the documentation."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.3.2"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "typing", "docs", "tests", "clients", "coverage"]
nox.options.error_on_missing_interpreters = False

HERE = Path(__file__).parent


def _pythons() -> list[str]:
    """Find the Pythons, 3.10 and up: those on the path, and those of pyenv, which need not be."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for minor in range(10, 16):
        managed = sorted(root.glob(f"3.{minor}.*/bin/python"), key=lambda path: path.parts[-3])
        if managed:
            found.append(str(managed[-1]))
        elif shutil.which(f"python3.{minor}"):
            found.append(f"3.{minor}")
    return found or [sys.executable]


PYTHONS = _pythons()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite. On the newest Python, record which branches it takes: that makes it twice as slow."""
    session.install(".[test]")
    if session.python == PYTHONS[-1]:
        environment = {"COVERAGE_FILE": str(HERE / ".coverage"), "PYTHONWARNINGS": ""}
        session.run("coverage", "run", "-m", "pytest", *session.posargs, env=environment)
    else:
        session.run("pytest", *session.posargs, env={"PYTHONWARNINGS": ""})


@nox.session
def clients(session: nox.Session) -> None:
    """Run the tests with other people's clients, all of which must be there, and record which branches they take."""
    absent = [program for program in ("memcached", "memcstat", "node", "npm") if shutil.which(program) is None]
    if absent and "CI" not in os.environ:
        session.skip(f"not installed: {', '.join(absent)}; .ci/run says which packages of Debian have them")
    # pylibmc's wheels carry a libmemcached that finds no SASL mechanism; the tests want Debian's.
    session.install("--no-binary=pylibmc", ".[test,clients]")
    environment = {"COVERAGE_FILE": str(HERE / ".coverage"), "PYTHONWARNINGS": "", "TRIO_SPOOL_REQUIRE_CLIENTS": "1"}
    session.run("coverage", "run", "-m", "pytest", "tests/clients", *session.posargs, env=environment)


@nox.session
def coverage(session: nox.Session) -> None:
    """Add up what the tests have recorded, and require 95 % of the branches."""
    session.install("coverage[toml]>=7.10")
    session.run("coverage", "combine")
    session.run("coverage", "report", "--fail-under=95")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types: mypy, strict, of everything; pyright of what users import."""
    session.install(".[typing,testing]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, docstrings, and who imports whom."""
    session.install(".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Run the property tests with many more examples."""
    session.install(".[test]")
    session.run("pytest", "-k", "any or Machine or fuzz", *session.posargs, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after ``--`` choose some of them. Debian's memcached must be installed."""
    session.install(".[bench]")
    session.run("python", "tests/bench/run.py", *session.posargs)
