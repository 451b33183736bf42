"""The page "In a container": the server takes the options that its commands give, and every mapped port is advertised."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.process import running
from support.users import ANN, write_users
from trio_spool.cli import main
from trio_spool.cli._serve import serve
from trio_spool.server import Settings

if sys.version_info < (3, 11):
    import tomli as tomllib
else:
    import tomllib

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "container.rst").read_text(encoding="utf-8")
FOLDER = DOCS / "examples" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (docker .*)$", PAGE, re.MULTILINE)]
SERVERS = [words for words in COMMANDS if words[1:3] == ["run", "-d"]]


def stages() -> list[dict[str, list[str]]]:
    """The instructions of each stage of the image: each name with all of its arguments, in order."""
    found: list[dict[str, list[str]]] = []
    lines = [line for line in CONTAINERFILE.splitlines() if line and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        name, arguments = line.split(maxsplit=1)
        if name == "FROM":
            found.append(defaultdict(list))
        if found:
            found[-1][name].append(arguments)
    return found


BUILD, FINAL = stages()


def settings_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the server in a container that is run by these words."""
    for variables in FINAL["ENV"]:
        for variable in variables.split():
            monkeypatch.setenv(*variable.split("=", 1))
    (entry,) = FINAL["ENTRYPOINT"]
    arguments = [*json.loads(entry)[2:], *words[words.index("trio-spool") + 1 :]]
    parameters = serve.make_context("serve", arguments).params
    return Settings(**{name: value for name, value in parameters.items() if name in attrs.fields_dict(Settings)})


@pytest.mark.parametrize("words", SERVERS, ids=lambda words: " ".join(words[-2:]))
def test_mapped_ports_are_advertised(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(words, monkeypatch)
    published = [words[index + 1].split(":")[-2:] for index, word in enumerate(words) if word == "-p"]
    assert published
    assert sorted(settings.advertise) == sorted(":".join(pair) for pair in published)
    assert {port for port in settings.advertised + settings.management_advertised if port} == {
        int(outside) for outside, _ in published
    }
    assert settings.data_dir == Path("/data")
    assert settings.drain_timeout < 10  # that of `docker stop`


def test_there_are_such_commands() -> None:
    assert len(SERVERS) == 4


def test_other_commands_exist() -> None:
    used = {words[words.index("trio-spool") + 1] for words in COMMANDS if words[1] == "exec"}
    assert used == {"ping", "stat", "dump", "load"} and used <= set(main.list_commands(None))


def test_the_image_has_what_the_package_is_built_from() -> None:
    copied = [name for arguments in BUILD["COPY"] for name in arguments.split()[:-1]]
    assert "trio_spool" in copied
    for name in copied:
        assert (DOCS.parent / name).exists(), name


def test_the_server_has_one_user_and_one_volume() -> None:
    (user,) = FINAL["USER"]
    assert user.partition(":")[0].isdecimal() and int(user.partition(":")[0]) > 0  # a number: Kubernetes can't look up names
    assert FINAL["VOLUME"] == ["/data"]
    assert FINAL["STOPSIGNAL"] == ["SIGTERM"]
    assert f"--from=build --chown={user} /root/volumes/ /" in FINAL["COPY"]


def test_nothing_is_installed_in_the_final_image() -> None:
    assert not FINAL["RUN"]
    assert all(arguments.startswith("--from=build ") for arguments in FINAL["COPY"])


def requirements(name: str) -> dict[str, str]:
    """The packages of a file of requirements, all of which have hashes, with their versions."""
    text = (FOLDER / name).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+", line) for line in lines)
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2].split()[0] for line in lines}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_every_package_of_the_image_is_named_with_hashes(name: str) -> None:
    """docs/contributing.rst says how the files are made."""
    metadata = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = metadata["project"]["dependencies"] if name == "requirements.txt" else metadata["build-system"]["requires"]
    found = requirements(name)
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.13"}):
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement
    installed = [words for words in " && ".join(BUILD["RUN"]).split(" && ") if "-r /tmp/" in words]
    assert len(installed) == 2
    assert all("--require-hashes --only-binary :all:" in words for words in installed)


@pytest.fixture(scope="module")
def check() -> Callable[[int], int]:
    """Returns the status of the image's health check, for a server whose metrics have this port."""
    (instruction,) = FINAL["HEALTHCHECK"]
    options, words = instruction.split(" CMD ")
    assert {option.partition("=")[0] for option in options.split()} == {"--interval", "--timeout", "--start-period", "--retries"}
    program, *arguments = json.loads(words)
    assert program == "python"
    variables = dict(variable.split("=", 1) for line in FINAL["ENV"] for variable in line.split())
    port = variables["TRIO_SPOOL_METRICS"].rpartition(":")[2]
    assert str(arguments).count(port) == 1

    def check(its: int) -> int:
        replaced = [word.replace(port, str(its)) for word in arguments]
        return subprocess.run([sys.executable, *replaced], capture_output=True, timeout=60).returncode

    return check


def test_a_server_is_healthy_until_it_ends(check: Callable[[int], int], tmp_path: Path) -> None:
    users = write_users(tmp_path / "users.json", ANN)
    listen = ("--listen", "tcp://127.0.0.1:0", "--metrics", "tcp://127.0.0.1:0")
    with running("--engine", "memory", "--users", str(users), *listen, listeners=2) as server:
        port = int(server.addresses[1].rpartition(":")[2])
        assert check(port) == 0
    assert check(port) != 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_a_server_that_says_so_is_not_healthy(check: Callable[[int], int], status: int, healthy: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert (check(server.server_address[1]) == 0) == healthy
        finally:
            server.shutdown()
            thread.join()


def test_options_of_other_blocks_exist() -> None:
    known = {option for parameter in serve.params for option in parameter.opts}
    words = {word for block in re.findall(r"^ *(?:args|command): (\[.*\])$", PAGE, re.MULTILINE) for word in json.loads(block)}
    used = {word for word in words if word.startswith("--")}
    assert {"--no-auth", "--metrics"} <= used <= known
