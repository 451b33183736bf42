"""The library on asyncio: worker threads, an iterator of batches, and the task that owns a connection. No Trio run is needed."""

from .._core import Batches as Batches
from ._open_sender import SenderBlock as SenderBlock
from ._open_sender import open_sender as open_sender
from ._spool import Spool as Spool
from ._spool import open_spool as open_spool
from ._threads import Limiter as Limiter
