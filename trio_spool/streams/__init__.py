"""The output of blocking code as an object, an async iterator that works on Trio and on asyncio."""

from ._stream import Stream as Stream
from ._stream import stream as stream
from ._stream import wait_closed as wait_closed
