"""What a child process prints, line by line, as server-sent events: ``COMMAND="vmstat 1" uvicorn child_events:app``."""

import os
import shlex
import subprocess
from collections.abc import Iterator

from trio_spool.asgi import Event, EventResponse


def lines(started: list[subprocess.Popen[str]]) -> Iterator[Event]:
    """Run the command in a worker thread; give each line, and at last the exit status."""
    with subprocess.Popen(shlex.split(os.environ["COMMAND"]), stdout=subprocess.PIPE, text=True) as process:
        started.append(process)
        for line in process.stdout or ():
            yield Event(line.rstrip("\n"))
        yield Event(str(process.wait()), event="exit")


async def app(scope, receive, send):
    """Run the command for each client. When the client leaves, it is killed, even if it prints nothing."""
    started: list[subprocess.Popen[str]] = []
    await EventResponse(lines(started), stop=lambda: [process.kill() for process in started])(scope, receive, send)
