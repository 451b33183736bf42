"""A server for tests in a thread of this process."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future, wait

import trio

from .._core import raise_the_one
from ._job import Job, run
from ._server import Server

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class ServerThread:
    """A server in a thread with its own event loop. Any other thread can call the methods.

    Args:
        job: What server.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        # The thread writes these: first the token, and after `_started` is done only the failure.
        self._token: trio.lowlevel.TrioToken | None = None
        self._started: Future[Server] = Future()
        self._failure: BaseException | None = None
        self._stop = trio.Event()  # of the thread's event loop
        # A daemon: a server that an abandoned generator has left running does not keep the process from ending.
        self._thread = threading.Thread(target=self._run_in_thread, name="trio-spool-testing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_started(self) -> Server:
        """Wait until the server accepts connections and the buckets exist.

        Raises:
            Exception: The error that kept the server from starting.
        """
        return self._started.result()

    def stop(self) -> None:
        """Stop the server, and wait for the thread.

        Raises:
            Exception: The error that ended the server after it had started.
        """
        if sys.is_finalizing():
            return  # the interpreter has stopped the thread, and waiting for it would never end
        wait([self._started])
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._stop.set)
            except trio.RunFinishedError:
                pass  # the server has already ended
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run_in_thread(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as exc:  # raised again in the thread that waits
            if self._started.done():
                self._failure = exc
            else:
                self._started.set_exception(exc)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

        async def run_it(task_status: trio.TaskStatus[Server]) -> None:
            await run(self._job, stop=self._stop, task_status=task_status)

        try:
            async with trio.open_nursery() as nursery:
                self._started.set_result(await nursery.start(run_it))
        except BaseExceptionGroup as group:
            raise_the_one(group)
