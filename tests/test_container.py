"""The page "In a container": the server takes the options that its commands give, and every mapped port is advertised."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import attrs
import pytest

from trio_spool.cli import main
from trio_spool.cli._serve import serve
from trio_spool.server import Settings

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "container.rst").read_text(encoding="utf-8")
DOCKERFILE = (DOCS / "examples" / "container" / "Dockerfile").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (docker .*)$", PAGE, re.MULTILINE)]
SERVERS = [words for words in COMMANDS if words[1:3] == ["run", "-d"]]


def settings_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the server in a container that is run by these words."""
    for variables in re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE):
        for variable in variables.split():
            monkeypatch.setenv(*variable.split("=", 1))
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    arguments = [*json.loads(entry)[2:], *words[words.index("trio-spool") + 1 :]]
    parameters = serve.make_context("serve", arguments).params
    return Settings(**{name: value for name, value in parameters.items() if name in attrs.fields_dict(Settings)})


@pytest.mark.parametrize("words", SERVERS, ids=lambda words: " ".join(words[-2:]))
def test_mapped_ports_are_advertised(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(words, monkeypatch)
    published = [words[index + 1].split(":")[-2:] for index, word in enumerate(words) if word == "-p"]
    assert published
    assert sorted(settings.advertise) == sorted(":".join(pair) for pair in published)
    assert {port for port in settings.advertised if port} == {int(outside) for outside, _ in published}
    assert settings.data_dir == Path("/data")
    assert settings.drain_timeout < 10  # that of `docker stop`


def test_there_are_such_commands() -> None:
    assert len(SERVERS) == 3


def test_other_commands_exist() -> None:
    used = {words[words.index("trio-spool") + 1] for words in COMMANDS if words[1] == "exec"}
    assert used == {"stat", "dump", "load"} and used <= set(main.list_commands(None))


def test_the_image_has_what_the_package_is_built_from() -> None:
    for names in re.findall(r"^COPY (.*) /src", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (DOCS.parent / name).exists(), name
