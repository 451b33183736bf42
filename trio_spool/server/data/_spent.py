"""Where the time of a command goes."""

from __future__ import annotations

import attrs


@attrs.define
class Spent:
    """Where the time of a command, or of commands that are carried out together, has gone. All in seconds.

    Attributes:
        worker_wait: Waiting for a worker thread.
        worker: In a worker thread.
        writer_wait: Waiting for the writer thread.
        writer: In the writer thread, up to the end of the commit: also for the commands of others in the same commit.
        client: Waiting until the client takes replies.
    """

    worker_wait: float = 0.0
    worker: float = 0.0
    writer_wait: float = 0.0
    writer: float = 0.0
    client: float = 0.0
