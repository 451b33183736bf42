"""Stream what blocking code produces: worker threads spool, and the one task that owns the socket sends.

Who may import whom, from the top down; a checker holds it to that::

    cli                          click commands
    testing                      a server for tests, and a pytest plugin
    client  server               a Trio client of the protocol; the service
    _core  mcbp  engine  auth    this library; the wire; storage; users. They do not know each other.

Importing this package loads `_core` alone.
"""

from ._core import Producer as Producer
from ._core import Sender as Sender
from ._core import SenderStatistics as SenderStatistics
from ._core import Spool as Spool
from ._core import SpoolBrokenError as SpoolBrokenError
from ._core import SpoolError as SpoolError
from ._core import SpoolLimits as SpoolLimits
from ._core import SpoolStatistics as SpoolStatistics
from ._core import SpoolWriter as SpoolWriter
from ._core import open_sender as open_sender
from ._core import open_spool as open_spool
from ._version import __version__ as __version__
