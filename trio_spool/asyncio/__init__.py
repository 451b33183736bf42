"""The library on asyncio: worker threads, an iterator of batches, and the task that owns a connection. No Trio run is needed."""

from .._core import Batches as Batches
from ._loop import Limiter as Limiter
from ._spool import Spool as Spool
from ._spool import open_spool as open_spool
