"""What CI runs: ``nox`` alone runs the tests, the type checkers, the linters, and the documentation."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.3.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"  # `install` looks whether anything has changed
nox.options.sessions = ["lint", "typing", "docs", "tests", "clients", "integrations", "frameworks", "coverage"]
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


def find_free_threaded_python() -> str | None:
    """Return the path of a Python without the interpreter's lock: the one that the environment names, or the newest there is."""
    if named := os.environ.get("TRIO_SPOOL_FREE_THREADED"):
        return named
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(15, 12, -1):
        name = f"python3.{minor}t"
        if managed := sorted(root.glob(f"3.{minor}.*t/bin/{name}"), key=lambda path: int(path.parts[-3].split(".")[2].rstrip("t"))):
            return str(managed[-1])
        if found := shutil.which(name):
            return found
    return None


PYTHONS = find_pythons()
FREE_THREADED = find_free_threaded_python()
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
# Processes of pytest-xdist: on two cores, since tests wait for other processes and for the disk most of the time.
PROCESSES = "3"
# What the Pythons between the oldest and the newest run: what could behave differently there, and in neither of those two. That is
# what depends on threads, the interpreter's lock, signals and Trio's loop (the library, and the server in a thread), on TLS and
# sockets (the client), and a service as a whole, with commands, scans and TLS. The wire, the engines and the command line compute
# and write files, which is the same everywhere if it is the same on the oldest and the newest Python.
BETWEEN = (
    "tests/core", "tests/asyncio", "tests/streams", "tests/client", "tests/testing", "tests/test_examples.py",
    "tests/test_project.py", "tests/cli/test_ending.py",
    "tests/server/test_commands.py", "tests/server/test_connection.py", "tests/server/test_scanning.py", "tests/server/test_tls.py",
)  # fmt: skip


# What only the newest Python runs, without recording branches, which takes twice as long: simulations, which are the same on every
# Python, and tests of endurance, which are about time and memory.
UNRECORDED = [*(f"tests/core/simulation/test_{name}.py" for name in ("hand_over", "mutants", "sender")), "tests/soak"]


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
    """Run the tests: all on the newest Python, nearly all on the oldest, and in between what depends on the interpreter.

    On the newest Python, record which branches they take, which makes them slower. The sessions "clients",
    "integrations" and "frameworks" run the tests with other people's programs.
    """
    install(session, ".[test]")
    chosen = (
        ("tests", "--ignore=tests/clients", "--ignore=tests/integrations", "--ignore=tests/frameworks")
        if session.python in (OLDEST, NEWEST)
        else BETWEEN
    )
    run_pytest(session, *chosen, *(f"--ignore={path}" for path in UNRECORDED), with_coverage=session.python == NEWEST)
    if session.python == NEWEST and not session.posargs:
        run_pytest(session, *UNRECORDED, with_coverage=False)


@nox.session
def clients(session: nox.Session) -> None:
    """Run the tests with other people's clients, all of which must be there, and record which branches they take."""
    absent = [program for program in ("memcached", "memcstat", "node", "npm", "php") if shutil.which(program) is None]
    if absent and "CI" not in os.environ:
        session.skip(f"not installed: {', '.join(absent)}; .ci/run says which packages of Debian have them")
    # pylibmc's wheels carry a libmemcached that finds no SASL mechanism; the tests want Debian's.
    install(session, "--no-binary=pylibmc", ".[test,clients]")
    # It asks for an old anyio, which the tests of the library cannot use, and works with a new one.
    session.install("--no-deps", "memcache>=0.14", "hashring>=1.5.1")
    run_pytest(session, "tests/clients", with_coverage=True, env={"TRIO_SPOOL_REQUIRE_CLIENTS": "1"})


@nox.session
def integrations(session: nox.Session) -> None:
    """Run the tests with frameworks that are built on Couchbase's SDK.

    They are apart from the clients since they bring 400 MB along. Installing them took four minutes on a busy machine.
    """
    install(session, ".[test,integrations]")
    run_pytest(session, "tests/integrations", with_coverage=False, env={"TRIO_SPOOL_REQUIRE_INTEGRATIONS": "1"})


@nox.session(python=NEWEST)
def frameworks(session: nox.Session) -> None:
    """Run the tests with web frameworks and their servers, and record which branches they take."""
    install(session, ".[test,frameworks]")
    run_pytest(session, "--dist", "loadgroup", "tests/frameworks", with_coverage=True, env={"TRIO_SPOOL_REQUIRE_FRAMEWORKS": "1"})


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


@nox.session(python=list(dict.fromkeys((OLDEST, NEWEST))))
def fuzz(session: nox.Session) -> None:
    """Run the property tests with many more examples, 100,000 simulations, and 10,000 cancellations and interrupts of each loop.

    The oldest Python runs only the last two: what depends on the interpreter.
    """
    install(session, ".[test]")
    chosen = () if session.python == NEWEST else ("tests/core/simulation",)
    arguments = session.posargs or ("-n", PROCESSES, *chosen)
    session.run("pytest", "-k", "any or Machine or fuzz", *arguments, env={"HYPOTHESIS_PROFILE": "fuzz"})


@nox.session(python=NEWEST)
def soak(session: nox.Session) -> None:
    """Run the endurance tests in full length, one after the other, in about two and a half hours. The suite runs short ones.

    ``--publish`` after ``--`` has the documentation show the hour of mixed load. Other arguments choose tests, as for pytest.
    """
    install(session, ".[test]")
    with contextlib.suppress(nox.command.CommandFailed):  # there are wheels for some Pythons only; its tests are skipped then
        session.run("python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "atheris")
    chosen = [argument for argument in session.posargs if argument != "--publish"]
    results = HERE / "bench-results" / "soak.json"
    if publish := "--publish" in session.posargs:
        results = HERE / "docs" / "figures" / "soak.json"
    results.parent.mkdir(exist_ok=True)
    environment = {"TRIO_SPOOL_SOAK": "1", "TRIO_SPOOL_SOAK_RESULTS": str(results)}
    session.run("pytest", "--durations=0", "-rP", *(chosen or ["tests/soak", "tests/cli/test_any_server.py"]), env=environment)
    if publish:
        session.install("matplotlib")
        session.run("python", "tests/bench/plots.py", str(results))


@nox.session(name="free-threaded", python=FREE_THREADED)
def free_threaded(session: nox.Session) -> None:
    """Run the library's tests on a Python without the interpreter's lock, if there is one."""
    if FREE_THREADED is None:
        session.skip("no free-threaded Python found; docs/contributing.rst says how to build one")
    # Only what the library and its tests import: other dependencies of the package have no wheels for such a Python, and cannot be
    # built without compilers for C and Rust. Hypothesis is Python alone in these versions.
    session.install("trio>=0.27", "trio-util>=0.8", "attrs>=23.2", "hypothesis>=6.130,<6.140")
    session.install("pytest>=8.4", "pytest-trio>=0.8", "pytest-timeout>=2.4")
    options = ["-p", "support.limits", "--hypothesis-profile=ci", "--confcutdir=tests/core"]
    # PYTHON_GIL keeps an extension module from turning the lock on again.
    environment = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "tests")]), "PYTHON_GIL": "0"}
    session.run("python", "-m", "pytest", *options, *(session.posargs or ["tests/core"]), env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after ``--`` choose some of them. Debian's memcached must be installed."""
    install(session, ".[bench]")
    session.run("python", "tests/bench/run.py", *session.posargs)
