"""What server a test wants: the options of pytest's configuration, and the markers ``trio_spool``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any, Final

import pytest

MARKER: Final = "trio_spool"
# Why no test may run, where that could not be said before.
REFUSAL: Final = pytest.StashKey[str]()
SCOPES: Final = ("function", "class", "module", "package", "session")
# What the tests are in that share a server, by the scope.
_SHARING: Final[dict[str, type[pytest.Collector]]] = {
    "class": pytest.Class, "module": pytest.Module, "package": pytest.Package, "session": pytest.Session,
}  # fmt: skip
# After a test, nobody waits for replies: not even for a client that has left in the middle of a request.
_DEFAULTS: Final = {"drain_timeout": 0}
_WORDS: Final = {"true": True, "false": False, "none": None}


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the configuration file."""
    parser.addini("trio_spool_buckets", "Buckets that each server of trio-spool has beside the default one.", "args", [])
    parser.addini(
        "trio_spool_collections", "Collections that each server of trio-spool has: SCOPE.COLLECTION or BUCKET:SCOPE.COLLECTION.",
        "args", [],
    )  # fmt: skip
    parser.addini(
        "trio_spool_settings", "Settings of each server of trio-spool, one a line: NAME = VALUE, such as vbuckets = 64.",
        "linelist", [],
    )  # fmt: skip
    parser.addini(
        "trio_spool_scope", f"The scope of the fixtures of trio-spool: {', '.join(SCOPES)}. With function, each test has a server.",
        "string", SCOPES[0],
    )  # fmt: skip
    parser.addini(
        "trio_spool_memcached_client",
        "The module that the fixture memcached_client takes its client from: pymemcache, bmemcached or pylibmc. By default, the "
        "first of them that is installed.",
        "string", "",
    )  # fmt: skip


def scope_of(fixture_name: str, config: pytest.Config) -> Any:
    """Return the scope of the fixtures.

    Raises:
        pytest.UsageError: There is no such scope.
    """
    scope = config.getini("trio_spool_scope")
    if scope not in SCOPES:
        raise pytest.UsageError(f"trio_spool_scope must be one of {', '.join(SCOPES)}; got {scope!r}")
    return scope


def configured(config: pytest.Config) -> dict[str, Any]:
    """Return the arguments of `running_server` that the configuration file has.

    Raises:
        pytest.UsageError: A line is no setting.
    """
    settings = dict(_parse_setting(line) for line in config.getini("trio_spool_settings"))
    named = {"buckets": config.getini("trio_spool_buckets"), "collections": config.getini("trio_spool_collections")}
    return {**_DEFAULTS, **settings, **{name: value for name, value in named.items() if value}}


def wanted(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of `running_server` for a test, or for a module and so on: of the configuration, and of the markers.

    Of markers that say different things about one setting, the one nearest to the test holds.

    Raises:
        pytest.UsageError: A line of the configuration is no setting, or a marker has an argument without a name.
    """
    if REFUSAL in request.config.stash:
        raise pytest.UsageError(request.config.stash[REFUSAL])
    arguments = configured(request.config)
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        if marker.args:
            raise pytest.UsageError(
                f"the marker {MARKER} takes settings by their names, such as @pytest.mark.{MARKER}(vbuckets=64); "
                f"got {marker.args[0]!r}"
            )
        arguments.update(marker.kwargs)
    return arguments


def refuse_ignored_markers(items: Iterable[pytest.Item], config: pytest.Config) -> None:
    """Refuse markers on tests, classes and modules that share a server with others: it is started before they are looked at.

    Raises:
        pytest.UsageError: There is such a marker.
    """
    scope = config.getini("trio_spool_scope")
    if scope not in _SHARING:
        return
    for item in items:
        for node in _below(item, _SHARING[scope]):
            if any(marker.name == MARKER for marker in node.own_markers):
                raise pytest.UsageError(
                    f"{node.nodeid} has the marker {MARKER}, but shares its server with others, since trio_spool_scope is {scope}: "
                    "use running_server there"
                )


def _below(item: pytest.Item, kind: type[pytest.Collector]) -> list[Any]:
    """Return the test, and what it is in, below the node of a kind that it is in; or below its module if it is in none."""
    chain = item.listchain()
    sharing = [node for node in chain if isinstance(node, kind)] or [node for node in chain if isinstance(node, pytest.Module)]
    return chain[chain.index(sharing[-1]) + 1 :] if sharing else []


def _parse_setting(line: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name.replace("-", "_").isidentifier():
        raise pytest.UsageError(f"trio_spool_settings must have lines such as vbuckets = 64; got {line!r}")
    return name.replace("-", "_"), _parse_value(value)


def _parse_value(text: str) -> Any:
    """Return a value as Python writes it, or text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
