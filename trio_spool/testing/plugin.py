"""pytest's plugin: the fixture ``trio_spool_server``.

pytest imports this whenever it starts, wherever this package is installed: what a fixture needs is imported by the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ._server import Server


@pytest.fixture
def trio_spool_server() -> Iterator[Server]:
    """A running trio-spool server, empty, on a free port; see `trio_spool.testing.Server`. It stops when the test has ended."""
    from ._running import running_server

    with running_server() as server:
        yield server
