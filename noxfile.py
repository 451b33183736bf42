"""What CI runs: ``nox`` alone runs the tests, the type checkers, the linters, and the documentation."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.3.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"  # `install` looks whether anything has changed
nox.options.sessions = ["lint", "typing", "docs", "tests", "clients", "coverage"]
nox.options.error_on_missing_interpreters = False

HERE = Path(__file__).parent
PACKAGE = HERE / "trio_spool"
# What an environment is made of.
SOURCES = [HERE / "pyproject.toml", HERE / "README.md", *sorted(path for path in PACKAGE.rglob("*.*") if path.suffix != ".pyc")]


def find_pythons() -> list[str]:
    """Return the versions of the Pythons that there are, from 3.10 up, and put those of pyenv on the path.

    pyenv's own commands do not help: python3.12 fails there unless somebody has chosen that version.
    """
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for minor in range(10, 16):
        managed = sorted(root.glob(f"3.{minor}.*/bin/python3.{minor}"), key=lambda path: int(path.parts[-3].split(".")[2]))
        if managed:
            os.environ["PATH"] = os.pathsep.join([str(managed[-1].parent), os.environ["PATH"]])
        if managed or shutil.which(f"python3.{minor}"):
            found.append(f"3.{minor}")
    return found or [f"{sys.version_info.major}.{sys.version_info.minor}"]


PYTHONS = find_pythons()
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
# Processes of pytest-xdist.
PROCESSES = "2"
# What the Pythons between the oldest and the newest run: what could behave differently there, and in neither of those two. That is
# what depends on threads, the interpreter's lock, signals and Trio's loop (the library, and the server in a thread), on TLS and
# sockets (the client), and a service as a whole, with commands, scans and TLS. The wire, the engines and the command line compute
# and write files, which is the same everywhere if it is the same on the oldest and the newest Python.
BETWEEN = (
    "tests/core", "tests/client", "tests/testing", "tests/test_examples.py", "tests/test_project.py", "tests/cli/test_ending.py",
    "tests/server/test_commands.py", "tests/server/test_connection.py", "tests/server/test_scanning.py", "tests/server/test_tls.py",
)  # fmt: skip


def install(session: nox.Session, *arguments: str) -> None:
    """Install into the session's environment, unless it has been done there before and nothing has changed since."""
    changes = hashlib.sha256(" ".join(arguments).encode())
    for source in SOURCES:
        changes.update(source.read_bytes())
    stamp = Path(session.virtualenv.location) / "installed"
    if not stamp.exists() or stamp.read_text() != changes.hexdigest():
        session.install(*arguments)
        stamp.write_text(changes.hexdigest())


def run_pytest(session: nox.Session, *chosen: str, with_coverage: bool, env: dict[str, str] | None = None) -> None:
    """Run the chosen tests; or what the arguments after ``--`` say, which is quicker in one process and without coverage."""
    environment = {"COVERAGE_FILE": str(HERE / ".coverage"), "PYTHONWARNINGS": "", **(env or {})}
    if session.posargs:
        session.run("pytest", *session.posargs, env=environment)
    else:
        command = ("coverage", "run", "-m", "pytest") if with_coverage else ("pytest",)
        session.run(*command, "-n", PROCESSES, "--durations=10", *chosen, env=environment)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests: all on the oldest and the newest Python, and in between what depends on the interpreter.

    On the newest Python, record which branches they take, which makes them slower. The session "clients" runs the tests with other
    people's clients.
    """
    install(session, ".[test]")
    chosen = ("tests", "--ignore=tests/clients") if session.python in (OLDEST, NEWEST) else BETWEEN
    run_pytest(session, *chosen, with_coverage=session.python == NEWEST)


@nox.session
def clients(session: nox.Session) -> None:
    """Run the tests with other people's clients, all of which must be there, and record which branches they take."""
    absent = [program for program in ("memcached", "memcstat", "node", "npm") if shutil.which(program) is None]
    if absent and "CI" not in os.environ:
        session.skip(f"not installed: {', '.join(absent)}; .ci/run says which packages of Debian have them")
    # pylibmc's wheels carry a libmemcached that finds no SASL mechanism; the tests want Debian's.
    install(session, "--no-binary=pylibmc", ".[test,clients]")
    run_pytest(session, "tests/clients", with_coverage=True, env={"TRIO_SPOOL_REQUIRE_CLIENTS": "1"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Add up what the tests have recorded, and require 95 % of the branches."""
    session.install("coverage[toml]>=7.10")
    session.run("coverage", "combine")
    session.run("coverage", "report", "--fail-under=95")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types: mypy, strict, of everything; pyright of what users import."""
    install(session, ".[typing,testing]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, docstrings, and who imports whom."""
    install(session, ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Run the property tests with many more examples."""
    install(session, ".[test]")
    session.run("pytest", "-k", "any or Machine or fuzz", *session.posargs, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after ``--`` choose some of them. Debian's memcached must be installed."""
    install(session, ".[bench]")
    session.run("python", "tests/bench/run.py", *session.posargs)
