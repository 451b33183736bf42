"""Trio: its event loop, and the blocks that its users open."""

from ._channel import BatchChannel as BatchChannel
from ._limiter import TrioLimiter as TrioLimiter
from ._loop import trio_loop as trio_loop
from ._open_sender import open_sender as open_sender
from ._outlet import socket_below as socket_below
from ._per_run import PerRun as PerRun
from ._receiving import Receiver as Receiver
from ._spool import Spool as Spool
from ._spool import open_spool as open_spool
from ._tasks import outlast as outlast
from ._tasks import start_until_run_ends as start_until_run_ends
