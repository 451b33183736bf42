"""Answer HTTP requests with what blocking code produces: responses for every ASGI server, on Trio and on asyncio.

A response here is an ASGI application, so this package needs no framework. `trio_spool.asgi.starlette` has the same responses for
Starlette and FastAPI; it is imported by itself, because it needs Starlette.
"""

from ._events import Event as Event
from ._events import events as events
from ._json_lines import json_lines as json_lines
from ._lifespan import WaitForStreams as WaitForStreams
from ._respond import WrongLengthError as WrongLengthError
from ._responses import EventResponse as EventResponse
from ._responses import JSONLinesResponse as JSONLinesResponse
from ._responses import StreamResponse as StreamResponse
