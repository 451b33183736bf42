"""Tables that are made from the server's own descriptions: its commands, its groups of statistics, the states of a scan.

``wire-table`` and ``text-table`` list every command, ``statistics-groups`` every group, ``scan-states`` what each event makes
of each state, ``management-requests`` every request of management, ``metrics`` the metrics below one heading.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from trio_spool.server.conversation import Rule
from trio_spool.server.management import ROUTES
from trio_spool.server.metrics import EXPOSED
from trio_spool.server.protocols.binary import TABLE, Command
from trio_spool.server.protocols.text import TABLE as TEXT_TABLE
from trio_spool.server.protocols.text import Command as TextCommand
from trio_spool.server.shared._scan_state import TRANSITIONS
from trio_spool.server.statistics import GROUPS, Group, Shows


def summary(documented: object) -> str:
    """Return the first paragraph of a docstring, on one line."""
    paragraph = inspect.getdoc(documented) or ""
    return " ".join(paragraph.partition("\n\n")[0].split())


def who(rule: Rule) -> str:
    """Say who may use a command."""
    if rule.before_login:
        return "no login"
    roles = " and ".join(role.value for role in rule.roles)
    if not roles and not rule.anybody:
        return "nobody"
    return roles or "every user"


def opcodes(commands: Sequence[Command]) -> str:
    """Say which opcodes commands have, in hexadecimal."""
    loud = ", ".join(f"{command.opcode:02x}" for command in commands)
    quiet = ", ".join(f"{command.quiet:02x}" for command in commands if command.quiet is not None)
    return f"{loud}; quiet: {quiet}" if quiet else loud


def families() -> list[list[Command]]:
    """Return the commands, those together that one function runs for the same users."""
    together: dict[object, list[Command]] = {}
    for command in TABLE.commands:
        together.setdefault((command.run, command.who, command.reorderable), []).append(command)
    return list(together.values())


class _Table(SphinxDirective):
    """A table of text, whose cells may have markup."""

    def table(self, heads: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[str]]) -> list[nodes.Node]:
        """Make the table; on a phone, each row is one block."""
        table = nodes.table(classes=["stack", self.name, "colwidths-given"])
        group = nodes.tgroup(cols=len(heads))
        table += group
        group.extend(nodes.colspec(colwidth=width) for width in widths)
        head, body = nodes.thead(), nodes.tbody()
        head += self._row(heads)
        body.extend(map(self._row, rows))
        group.extend((head, body))
        return [table]

    def _row(self, cells: Sequence[str]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            if cell:
                self.state.nested_parse(StringList([cell], source=self.name), 0, entry)
            row += entry
        return row


class WireTable(_Table):
    """Every command of the binary protocol."""

    def run(self) -> list[nodes.Node]:
        """Make the table from the rows of the commands."""
        rows = [
            (
                ", ".join(command.opcode.name for command in commands),
                opcodes(commands),
                summary(commands[0].run),
                who(commands[0].who),
                "" if commands[0].reorderable else "ordered",
            )
            for commands in families()
        ]
        return self.table(("command", "opcodes", "what it does", "role", "order"), (31, 14, 32, 12, 11), rows)


class TextTable(_Table):
    """Every command of the text protocol."""

    def run(self) -> list[nodes.Node]:
        """Make the table from the rows of the commands, those together that one function runs for the same users."""
        together: dict[object, list[TextCommand]] = {}
        for command in TEXT_TABLE.commands:
            together.setdefault((command.run, command.who), []).append(command)
        rows = [
            (
                ", ".join(f"``{command.name}``" for command in commands),
                summary(commands[0].run),
                who(commands[0].who),
                "noreply" if commands[0].noreply else "",
            )
            for commands in together.values()
        ]
        return self.table(("command", "what it does", "role", "quiet"), (24, 48, 16, 12), rows)


class StatisticsGroups(_Table):
    """Every group of statistics."""

    def run(self) -> list[nodes.Node]:
        """Make the table from the rows of the groups."""
        roles = {Shows.OWN: "stats", Shows.KEYS: "stats and read", Shows.OTHERS: "stats for all buckets"}
        together: dict[object, list[Group]] = {}
        for group in GROUPS.values():
            together.setdefault(group.run, []).append(group)
        rows = []
        for groups in together.values():
            names = ", ".join(f"``{group.name}``" if group.name else "*none*" for group in groups)
            rows.append((names, groups[0].summary, roles[groups[0].shows]))
        return self.table(("group", "what it shows", "role"), (26, 54, 20), rows)


class Metrics(_Table):
    """The metrics below one heading."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the table from the descriptions."""
        rows = []
        for metric in EXPOSED[self.arguments[0]]:
            labels = ", ".join(f"``{label}``" for label in metric.labels)
            rows.append((f"``{metric.full_name}``", metric.type.value + (f" by {labels}" if labels else ""), metric.help))
        return self.table(("metric", "type", "what it says"), (40, 22, 38), rows)


class ScanStates(_Table):
    """What each event makes of each state of a scan."""

    def run(self) -> list[nodes.Node]:
        """Make the table from the server's."""
        rows = [[each.name.lower() for each in (state, event, following)] for (state, event), following in TRANSITIONS.items()]
        return self.table(("state", "event", "next state"), (34, 33, 33), rows)


class ManagementRequests(_Table):
    """Every request of management."""

    def run(self) -> list[nodes.Node]:
        """Make the table from the routes."""
        rows = [
            (f"{route.method} ``/{'/'.join(route.pattern)}``", summary(route.page), _where(route.rule, who(route.rule)))
            for route in ROUTES
        ]
        return self.table(("request", "what it does", "role"), (46, 38, 16), rows)


def _where(rule: Rule, role: str) -> str:
    if not rule.roles:
        return role
    return f"{role}, on the bucket" if rule.bucket else f"{role}, on all buckets"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("wire-table", WireTable)
    app.add_directive("text-table", TextTable)
    app.add_directive("statistics-groups", StatisticsGroups)
    app.add_directive("scan-states", ScanStates)
    app.add_directive("management-requests", ManagementRequests)
    app.add_directive("metrics", Metrics)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
