"""The page "Operating it": every event of the log is in its table, with its level, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from support.events import events
from trio_spool.cli import main
from trio_spool.cli._serve import serve
from trio_spool.engine._directory import FORMAT, OLDEST_FORMAT
from trio_spool.server.conversation._waiting import Waits

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "operating.rst").read_text(encoding="utf-8")


def table(section: str) -> dict[str, str]:
    """The rows of the table in a section: the second column by the first."""
    text = PAGE.partition(f".. _{section}:")[2].partition("\nWhat to do when")[0]
    rows = re.findall(r"^   \* - ``([^`]+)``\n     - ([a-z, ]+)$", text, re.MULTILINE)
    assert len(rows) == text.count("\n   * - ") - 1, "a row is not an event with its level"
    assert len(dict(rows)) == len(rows), "a row is there twice"
    return dict(rows)


def test_every_event_is_in_the_table_and_nothing_else() -> None:
    logged, documented = events(), table("events")
    assert sorted(logged.keys() - documented.keys()) == []
    assert sorted(documented.keys() - logged.keys()) == []


def test_levels_are_those_of_the_source() -> None:
    documented = table("events")
    assert {event: ", ".join(sorted(levels, key=LEVELS.index)) for event, levels in events().items()} == documented


LEVELS = ["debug", "info", "warning", "error", "critical"]


def test_events_that_are_found() -> None:
    """Some of each kind: a literal, a constant, one by a variable, one of an engine, one that is not called by the usual name."""
    found = events()
    assert found["connection failed"] == {"error"}
    assert found["writes are refused"] == {"error"}
    assert found["no login in time"] == {"warning"}
    assert found["the engine has failed: …"] == {"critical"}
    assert found["stopped"] == {"info", "error"}


def test_options_of_the_page_exist() -> None:
    known = {option for parameter in serve.params for option in parameter.opts}
    for name in main.list_commands(click.Context(main)):
        known |= {option for parameter in main.get_command(click.Context(main), name).params for option in parameter.opts}
    others = {"--now", "--system", "--upgrade", "--sdnotify", "--users"}  # of other programs, and of commands of `user`
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= known | others


def test_commands_of_the_page_exist() -> None:
    commands = set(re.findall(r"trio-spool ([a-z]+)\b", PAGE)) - {"under"}
    assert {"backup", "serve", "check", "user"} <= commands <= set(main.list_commands(click.Context(main))), commands


def test_groups_of_statistics_exist() -> None:
    from trio_spool.server.statistics._groups import GROUPS

    known = set(GROUPS)
    assert set(re.findall(r"``stat ([a-z-]+)", " ".join(PAGE.split()))) <= known


@pytest.mark.parametrize("number", range(OLDEST_FORMAT, FORMAT + 1))
def test_formats_of_data_directories(number: int) -> None:
    assert re.search(rf"^   \* - {number}$", PAGE, re.MULTILINE)
    assert not re.search(rf"^   \* - {FORMAT + 1}$", PAGE, re.MULTILINE)


def test_every_alert_has_something_to_do() -> None:
    rules = (ROOT / "docs" / "examples" / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r"``(TrioSpool\w+)``", PAGE)) == sorted(re.findall(r"alert: (\w+)", rules))


def test_what_a_connection_can_wait_for_is_explained() -> None:
    section = PAGE.partition("\nA client hangs\n")[2].partition("\nThe disk is slow\n")[0]
    assert not [waits.value for waits in Waits if f"``{waits.value}``" not in section]
