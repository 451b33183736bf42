"""The process of servers, which `_process` starts, and in which `HostedServer` asks for servers.

Standard input is a socket. Each byte that comes brings another socket, for one server. On that, the attributes of a `Job` are
received, pickled; the `Server` is sent when it has started, and None when it has ended, or an error in place of either. The server
is stopped at the end of the stream, and the process ends at the end of standard input.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import threading
import time
import traceback
from typing import Any, Final

import structlog
import trio

from .._core import raise_the_one
from ._job import Job, run
from ._server import Server

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Seconds between two looks for the parent. Its end closes the socket, which is noticed at once, unless a process that it has forked
# still has it. And those after which this process, which should then end by itself, is ended. Picked, not measured.
LOOK: Final = 1.0
GRACE: Final = 5.0


def main() -> None:
    """Run until the parent wants no more servers, or has ended. The first argument is its process id."""
    # Plain tracebacks: the default ones show local variables, which are pages of what a test has stored.
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    stamper = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    # What a test wants to see when it has failed, and not that each server has begun and ended.
    warnings = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(processors=[structlog.processors.add_log_level, stamper, renderer], wrapper_class=warnings)
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    with control:
        trio.run(_accept, control, int(sys.argv[1]))


async def _accept(control: socket.socket, parent: int) -> None:
    control.setblocking(False)
    async with trio.open_nursery() as nursery:
        arguments = (parent, trio.lowlevel.current_trio_token(), nursery.cancel_scope)
        threading.Thread(target=_end_with_parent_in_thread, args=arguments, daemon=True).start()
        while True:
            await trio.lowlevel.wait_readable(control)
            try:
                data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            except BlockingIOError:
                continue
            except ConnectionError:
                break
            if not data:
                break
            nursery.start_soon(_serve, socket.socket(fileno=descriptors[0]))
        nursery.cancel_scope.cancel()


def _end_with_parent_in_thread(parent: int, token: trio.lowlevel.TrioToken, everything: trio.CancelScope) -> None:
    """End this process when its parent has ended, even if the event loop is stuck."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    try:
        token.run_sync_soon(everything.cancel)
    except trio.RunFinishedError:
        pass
    time.sleep(GRACE)
    os._exit(1)


async def _serve(channel: socket.socket) -> None:
    """Run one server, and tell what becomes of it. What goes wrong with it goes no further."""
    with channel, channel.makefile("rwb") as file:
        message: Exception | None = None
        try:
            await _run_until_end(await trio.to_thread.run_sync(_load_in_thread, file), channel, file)
        except Exception as exc:
            message = exc
        await trio.to_thread.run_sync(_tell_in_thread, file, message)


def _load_in_thread(file: Any) -> Job:
    try:
        return Job(**pickle.load(file))
    except Exception as exc:  # pickle raises what it likes
        raise ValueError(
            f"a setting can't be loaded in the server's process: {exc}; run the server in a thread: thread=True"
        ) from exc  # fmt: skip


async def _run_until_end(job: Job, channel: socket.socket, file: Any) -> None:
    stop = trio.Event()

    async def run_it(task_status: trio.TaskStatus[Server]) -> None:
        await run(job, stop=stop, task_status=task_status)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(run_it)
            await trio.to_thread.run_sync(_tell_in_thread, file, server)
            await trio.lowlevel.wait_readable(channel)  # nothing more is sent: it is the end
            stop.set()
    except BaseExceptionGroup as group:
        raise_the_one(group)


def _tell_in_thread(file: Any, message: Server | Exception | None) -> None:
    try:
        file.write(_packed(message) if isinstance(message, Exception) else pickle.dumps(message))
        file.flush()
    except ConnectionError:
        pass  # nobody wants to know it any more


def _packed(error: Exception) -> bytes:
    """Return an error as `HostedServer` unpacks it: its type, arguments, attributes and traceback."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        packed = pickle.dumps((type(error), error.args, error.__dict__, text))
        pickle.loads(packed)
        return packed
    except Exception:  # something in it can't be pickled
        return pickle.dumps((RuntimeError, (f"{type(error).__name__}: {error}",), {}, text))
