"""Add up the sizes of the values under a prefix: ``python scan.py PORT``."""

import sys

import trio

from trio_spool.client import open_client


async def main(port: int) -> int:
    """Scan the keys that begin with ``user:`` and return the total size of their values, in bytes."""
    total = 0
    async with open_client("127.0.0.1", port) as client:
        async with client.scan(prefix=b"user:") as documents:
            async for document in documents:
                total += len(document.value)
    return total


if __name__ == "__main__":
    print(trio.run(main, int(sys.argv[1])))
