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
    """A running trio-spool server on a free port, without items; see `trio_spool.testing.Server`. It stops after the test.

    It runs in another process, which the first test starts. If that process ends, the test has an error.
    """
    from ._running import running_server

    # After a test, nobody waits for replies: not even for a client that has left in the middle of a request.
    with running_server(drain_timeout=0) as server:
        yield server
