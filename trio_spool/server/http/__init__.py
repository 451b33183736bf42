"""A small HTTP/1.1 server for what a service shows beside its own protocols. It knows nothing of those.

::

    async def handle(request: Request) -> Response:
        if request.path != "/healthz":
            raise HttpError(404, "nothing is here")
        return Response(body=b"ok")

    server = HttpServer("health", handle, incidents=incidents)
    await server.serve(stream, "127.0.0.1:40112")  # for each connection

It parses by h11, sends by the library's own sender, and bounds what a client may use: see `HttpLimits`.
"""

from ._limits import HttpLimits as HttpLimits
from ._messages import Client as Client
from ._messages import Handler as Handler
from ._messages import HttpError as HttpError
from ._messages import Request as Request
from ._messages import Response as Response
from ._server import HttpServer as HttpServer
