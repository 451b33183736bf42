"""A TCP forwarder in a process of its own, as a container runtime, a tunnel or a balancer has it.

It begins with the outside ports, so that a server can be told of them; where they lead is said afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio


class Forwarder:
    """A running forwarder.

    Attributes:
        ports: The ports at 127.0.0.1 that it listens on.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ports = [int(port) for port in process.stdout.readline().split()]

    def lead_to(self, *places: str) -> None:
        """Forward each port, in their order, to a place, which is ``HOST:PORT``."""
        print(*places, file=self._process.stdin, flush=True)


@contextmanager
def forwarding(count: int) -> Iterator[Forwarder]:
    """Run a forwarder with so many ports until the block ends."""
    command = [sys.executable, __file__, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Forwarder(process)
        finally:
            process.kill()


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


async def _forward(place: str, client: trio.SocketStream) -> None:
    host, _, port = place.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as server, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, client, server, nursery.cancel_scope)
        nursery.start_soon(_copy, server, client, nursery.cancel_scope)


async def _main(count: int) -> None:
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(count)]
    print(*[listener.socket.getsockname()[1] for listener in listeners], flush=True)
    places = (await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)).split()
    async with trio.open_nursery() as nursery:
        for listener, place in zip(listeners, places, strict=False):
            nursery.start_soon(partial(trio.serve_listeners, partial(_forward, place), [listener]))


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]))
