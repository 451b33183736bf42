"""Trio as a guest in another event loop, here asyncio's, as in that of a GUI: it streams to a socket while the host goes on."""

import asyncio
from collections.abc import Callable

import trio

import trio_spool


async def handle(stream: trio.SocketStream) -> None:
    """Answer each connection with a million rows."""
    async with stream, trio_spool.open_sender(stream) as sender:
        await sender.send_spool(b"%d\r\n" % number for number in range(1_000_000))


async def main(port: int, beat: Callable[[], object]) -> None:
    """Run Trio as a guest, and let the host do something of its own."""
    soon = asyncio.get_running_loop().call_soon_threadsafe
    trio.lowlevel.start_guest_run(trio.serve_tcp, handle, port, run_sync_soon_threadsafe=soon, done_callback=print)
    while True:
        beat()
        await asyncio.sleep(0.01)
