"""Completion in a shell, and what helps with a mistyped command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import run
from support.completions import text
from trio_spool.cli._completing import TABLE

SCRIPT = """
import sys
from trio_spool.cli import main
try:
    main(prog_name="trio-spool")
finally:
    print(*sys.modules, file=sys.stderr)
"""


def completed(*words: str, shell: str = "bash") -> tuple[list[str], set[str]]:
    """What is offered for the last word, and the modules that this has loaded."""
    line = " ".join(("trio-spool", *words))
    environment = {**os.environ, "_TRIO_SPOOL_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    if shell == "fish":
        environment["COMP_CWORD"] = words[-1]
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line], set(done.stderr.split())


def test_the_table_is_that_of_the_commands() -> None:
    assert TABLE.read_text(encoding="utf-8") == text(), "run python tests/support/completions.py"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ge"], ["plain,get"]),
        (["de"], ["plain,delete", "plain,decr"]),
        (["bucket", "cr"], ["plain,create"]),
        (["get", "--js"], ["plain,--json"]),
        (["get", "db:5", "key", "--ra"], ["plain,--raw"]),
        (["scan", "--format", "c"], ["plain,csv"]),
        (["serve", "--engine", ""], ["plain,lmdb", "plain,memory"]),
        (["user", "add", "ann", "--role", "re"], ["plain,read"]),
        (["load", "db:5", "x"], ["file,x"]),
        (["get", "k"], []),
    ],
)
def test_what_is_offered(words: list[str], offered: list[str]) -> None:
    found, modules = completed(*words)
    assert sorted(found) == sorted(offered)
    assert "click" in modules
    assert (
        not {"trio", "attr", "rich", "lmdb", "ssl", "structlog", "trio_spool.client", "trio_spool.server", "trio_spool.engine"}
        & modules
    )


def test_options_are_explained_where_the_shell_shows_it() -> None:
    assert any("Print JSON" in line for line in completed("get", "--js", shell="zsh")[0])
    assert any("Print JSON" in line for line in completed("get", "--js", shell="fish")[0])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None and shell == "bash":
        pytest.skip("there is no bash, whose version click asks for")
    environment = {**os.environ, "_TRIO_SPOOL_COMPLETE": f"{shell}_source"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert "_TRIO_SPOOL_COMPLETE" in done.stdout
    assert not {"trio", "lmdb"} & set(done.stderr.split())
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_it(tmp_path: Path) -> None:
    program = tmp_path / "trio-spool"
    program.write_text(f"#!{sys.executable}\nfrom trio_spool.__main__ import main\nmain()\n")
    program.chmod(0o755)
    script = """
        eval "$(_TRIO_SPOOL_COMPLETE=bash_source trio-spool)"
        COMP_WORDS=(trio-spool get --js) COMP_CWORD=2
        $(complete -p trio-spool | sed 's/.*-F \\([^ ]*\\) .*/\\1/') trio-spool
        echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "--json\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gte"], "no command is named 'gte'; did you mean get?"),
        (["Stat"], "no command is named 'Stat'; did you mean stat"),
        (["bucket", "lst"], "no command is named 'lst'; did you mean list?"),
        (["user", "xyzzy"], "no command is named 'xyzzy'; the commands are add, "),
        (["help"], "no command is named 'help'; did you mean --help?"),
        (["set", "-5", "x"], "no option is named '-5'; a key or a value that begins with a dash needs -- before it, as in: main set -- -5"),
        (["set", "k", "-5"], "no option is named '-5'; a key or a value that begins with a dash needs -- before it"),
        (["get", "-xyz"], "no option is named '-xyz'; a key or a value"),
        (["get", "--x"], "no option is named '--x'; a key or a value"),
        (["dump", "-5"], "no option is named '-5'; an argument that begins with a dash needs -- before it, as in: main dump -- -5"),
        (["set", "k"], "a VALUE that begins with a dash needs -- before it"),
        (["get", "k", "--jsn"], "--json"),
        (["scan", "-5"], "-5"),
    ],
)  # fmt: skip
def test_mistyped(words: list[str], message: str) -> None:
    assert message in run(*words, status=2)


def test_help_in_sections() -> None:
    output = run("--help")
    sections = [line for line in output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert sections == ["Options:", "Items:", "Scans and dumps:", "Administration:", "Files:", "Server:", "Examples:"]


def test_options_before_the_command() -> None:
    output = run("-s", "db", "get", "k", status=2)
    assert "no option is named '-s'; options of a command stand behind its name, as in: main get -s" in output


def test_the_usage_line_always_has_the_server() -> None:
    assert "[OPTIONS] [SERVER] KEY..." in run("get", status=2)
    assert "[OPTIONS] [SERVER] KEY..." in run("get", "--help")
