"""memcached's text and meta protocol: how its lines map to commands, and what comes of these to lines, one family a file.

A command is described by one row in its family's file (`Command`). No command sees the connection: each gets a `TextExchange`, and
a long one a `TextContext`.
"""

from ._guest import TextGuest as TextGuest
from ._row import Command as Command
from ._row import Table as Table
from ._table import COMMANDS as COMMANDS
from ._table import TABLE as TABLE
