"""pytest's plugin: the fixture ``trio_spool_server``.

pytest imports this module at each start, in every environment where this package is installed. Therefore each fixture imports
what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ._server import Server


@pytest.fixture
def trio_spool_server() -> Iterator[Server]:
    """A running trio-spool server on a free port, without items; see `trio_spool.testing.Server`. It stops after the test."""
    from ._running import running_server

    with running_server() as server:
        yield server
