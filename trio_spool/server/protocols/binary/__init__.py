"""The memcached binary protocol: how its frames map to commands, and what comes of these to frames, one family a file.

A command is described by one row in its family's file (`Command`); every table is made from the rows. No command sees the
connection: each gets a `BinaryExchange`, and a long one a `BinaryContext`.
"""

from ._guest import FIRST_BYTES as FIRST_BYTES
from ._guest import BinaryGuest as BinaryGuest
from ._refusing import refuse_request as refuse_request
from ._row import Command as Command
from ._row import Table as Table
from ._table import COMMANDS as COMMANDS
from ._table import TABLE as TABLE
from ._unknown import unknown as unknown
