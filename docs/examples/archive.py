"""Make a tar archive in a worker thread and receive it in batches: ``python archive.py DIRECTORY > archive.tar``."""

import sys
import tarfile
from pathlib import Path

import trio

import trio_spool


async def archive(directory: Path) -> int:
    """Write the archive of a directory to standard output, and return its size in bytes."""

    def write(out: trio_spool.SpoolWriter) -> None:
        with tarfile.open(fileobj=out, mode="w|") as tar:
            tar.add(directory, arcname=directory.name)

    size = 0
    async with trio_spool.open_spool(write) as batches:
        async for batch in batches:
            sys.stdout.buffer.write(batch)
            size += len(batch)
    return size


if __name__ == "__main__":
    trio.run(archive, Path(sys.argv[1]))
