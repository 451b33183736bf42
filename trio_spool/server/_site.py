"""An HTTP server on listeners of its own, for the companions of a service that show or take something by HTTP.

A companion is then little more than its pages::

    async def show(shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
        server = HttpServer("health", handle, incidents=shared.incidents)
        opened = await listen(address, shared.settings, login=False)
        await serve_site(server, opened, shared.incidents, task_status=task_status)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from .._incidents import Incidents
from ._listening import BoundListener, peer_name
from .http import HttpServer

# Seconds for which requests may go on once the service has ended. Picked, not measured: what takes longer waits for a disk.
LAST: Final = 2.0


async def serve_site(
    server: HttpServer, opened: Sequence[BoundListener], incidents: Incidents, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    """Serve until cancelled. Requests that have been begun by then are answered, if that takes less than `LAST` seconds.

    Args:
        server: Serves the connections.
        opened: The listeners, which are closed at the end.
        incidents: Takes note of connections that can't be accepted.
        task_status: Receives the addresses, with the server's name behind them.
    """
    ended = trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            clients = await nursery.start(_hold_clients, server, ended)
            try:
                for listener in opened:
                    nursery.start_soon(_accept, server, listener, clients, incidents)
                task_status.started([f"{listener.address} ({server.name})" for listener in opened])
                await trio.sleep_forever()
            finally:
                ended.set()
    finally:
        for listener in opened:
            listener.close()


async def _hold_clients(server: HttpServer, ended: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Hold the nursery of the connections, which goes on for a while when everything else is cancelled."""
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as clients:
            task_status.started(clients)
            await ended.wait()
            server.stop()
            scope.deadline = trio.current_time() + LAST


async def _accept(server: HttpServer, listener: BoundListener, clients: trio.Nursery, incidents: Incidents) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await server.serve(stream, peer_name(stream), listener.tls)

    await listener.accept(serve, clients, incidents)
