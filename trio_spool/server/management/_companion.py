"""The companion of a service that serves management requests."""

from __future__ import annotations

import trio

from .._listening import BoundListener, listen
from .._site import serve_site
from ..http import HttpServer
from ..settings import TcpAddress
from ..shared import Entrance, Shared
from ._routes import Management


async def manage(shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Serve management requests until cancelled, and have the configuration name the ports.

    Raises:
        ListenError: It can't listen on an address.
        SettingsError: The certificates can't be used.
    """
    settings, opened = shared.settings, list[BoundListener]()
    try:
        for address, port in zip(settings.management_addresses, settings.management_advertised, strict=True):
            opened += await listen(address, settings, login=shared.logins.required, advertised=port)
        shared.entrances = [_entrance(listener) for listener in opened if isinstance(listener.address, TcpAddress)]
        server = HttpServer("management", Management(shared).answer, incidents=shared.incidents)
        await serve_site(server, opened, shared.incidents, task_status=task_status)
    finally:
        shared.entrances = []
        for listener in opened:
            listener.close()


def _entrance(listener: BoundListener) -> Entrance:
    address, seen = listener.address, listener.listener
    assert isinstance(address, TcpAddress)
    return Entrance(address.port, seen.port if seen.mapped else 0, address.tls, local=address.is_loopback)
