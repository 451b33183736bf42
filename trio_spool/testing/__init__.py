"""A server for tests. It runs in a process of its own, on a free port, starts empty, and stops at the end of a block.

::

    with running_server() as server:
        connect(server.host, server.port)

In pytest, it is the fixture ``trio_spool_server``; `trio_spool.testing.plugin` has others. Importing this package does not load the
server; starting one does.
"""

from ._contents import Collection as Collection
from ._errors import ServerDiedError as ServerDiedError
from ._running import running_server as running_server
from ._server import Server as Server
