"""Run the server inside a program and use it: ``python embedded.py``."""

import trio

from trio_spool.client import open_client
from trio_spool.server import Settings, serve


async def main() -> None:
    """Start a server on a free port, store a value, and read it back."""
    settings = Settings(listen=("tcp://127.0.0.1:0",), engine="memory")

    async def run(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        await serve(settings, task_status=task_status)

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(run)
        async with open_client("127.0.0.1", int(address.rpartition(":")[2])) as client:
            await client.set(b"greeting", b"hello")
            print((await client.get(b"greeting")).value.decode())
            async with client.stat("keys") as statistics:
                async for name, value in statistics:
                    print(name.decode(), value.decode())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
