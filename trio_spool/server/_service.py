"""The service: its listeners, its connections, and its end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from importlib.metadata import version
from uuid import UUID, uuid5

import structlog
import trio
from trio_util import periodic

from .._core import SpoolStatistics, raise_the_one
from ..engine import Engine, open_engine
from ._connection import Connection
from ._counters import Clock, Counters, Timings
from ._files import FileSnapshot, FileSnapshots, remove_all_in_thread
from ._scans import Scans
from ._settings import Settings, SettingsError, TcpAddress, UnixAddress, parse_address

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

_NAMESPACE = UUID("6f1f9b52-6a5e-4b8e-9d0f-5a1c6f0f7c11")
# Connections that the system may hold until they are accepted.
BACKLOG = 1024
# Copies of the database that are made at one time: more would only take turns at the disk.
COPIERS = 2
# Seconds between two looks for what has become too old.
HOUSEKEEPING = 0.5
# A scan is ended by the service, which knows its client; should that fail, its snapshot is by the engine, so many seconds later.
LIFE_MARGIN = 5.0


class ListenError(Exception):
    """An address can't be listened on. The message says which, and why."""


class Service:
    """What all connections share. Used by the event loop's thread alone, but for the engine."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.reader = engine.open_reader()
        self.version = version("trio-spool")
        self.counters = Counters()
        self.timings = Timings()
        self.clock = Clock()
        self.verbosity = 0
        # Producers have their own threads: they can't be kept waiting by whatever else this process does in threads.
        self.limiter = trio.CapacityLimiter(settings.workers)
        self.copiers = trio.CapacityLimiter(COPIERS)
        self._removers = trio.CapacityLimiter(1)
        self.files = FileSnapshots(settings.data_dir, settings.max_snapshots, settings.snapshot_idle)
        self.scans = Scans(settings.max_scans, settings.max_scans_per_connection, settings.max_scan_life)
        self.connections: set[Connection] = set()
        self.addresses: list[str] = []
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("trio_spool")
        self._draining = False
        self._numbers = 0
        self._past_bytes = 0  # written by connections that are gone
        self._past_spools = SpoolStatistics()
        identity = getattr(engine, "uuid", "memory")
        self.vbucket_uuid = uuid5(_NAMESPACE, identity).int >> 65 or 1

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection, and let nothing that goes wrong in it go further."""
        if self._draining or len(self.connections) >= self.settings.max_connections:
            self.counters.rejected_connections += 1
            await trio.aclose_forcefully(stream)
            return
        self.counters.total_connections += 1
        self._numbers += 1
        connection = Connection(self, self._numbers, _peer_name(stream))
        self.connections.add(connection)
        try:
            async with stream:
                await connection.run(stream)
        except Exception:
            self.log.exception("connection failed", connection=connection.number)
        finally:
            self.connections.discard(connection)
            self.scans.end_of(connection.number)
            self._past_bytes += connection.bytes_written()
            self._past_spools += connection.spool_statistics()

    def drain(self) -> None:
        """Take no further connections, and end each one as soon as what it was asked is answered."""
        self._draining = True
        for connection in list(self.connections):
            connection.stop()

    async def keep_house(self) -> None:
        """End what has become too old, for ever."""
        async for _ in periodic(HOUSEKEEPING):
            self.scans.end_old()
            if idle := self.files.take_idle():
                await self.remove(idle)

    async def remove(self, snapshots: list[FileSnapshot]) -> None:
        """Remove the files of snapshots. This is not left half done: cancelling waits for it."""
        with trio.CancelScope(shield=True):
            for snapshot in snapshots:
                await trio.to_thread.run_sync(snapshot.remove_in_thread, limiter=self._removers)

    def bytes_written(self) -> int:
        """Return the bytes written by all connections."""
        return self._past_bytes + sum(connection.bytes_written() for connection in self.connections)

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of all spools together."""
        total = self._past_spools
        for connection in self.connections:
            total += connection.spool_statistics()
        return total

    def reset_statistics(self) -> None:
        """Begin counting anew."""
        self.counters.reset()
        self.timings.reset()

    def tcp_port(self) -> int:
        """Return the first TCP port that it listens on, or 0."""
        for text in self.addresses:
            address = parse_address(text)
            if isinstance(address, TcpAddress):
                return address.port
        return 0

    def unix_path(self) -> str:
        """Return the first Unix domain socket that it listens on, or nothing."""
        for text in self.addresses:
            address = parse_address(text)
            if isinstance(address, UnixAddress):
                return address.path
        return ""


def _peer_name(stream: trio.SocketStream) -> str:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "gone"
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return "unix"


# Listening


async def _listen(text: str) -> list[tuple[str, trio.SocketListener]]:
    """Listen on an address; a host name may stand for several."""
    address = parse_address(text)
    try:
        if isinstance(address, UnixAddress):
            return [(text, _listen_unix(address.path))]
        listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as exc:
        code = exc.errno
        if isinstance(exc, socket.gaierror):
            reason = "the host name is not known"
        elif code == errno.EADDRINUSE:
            reason = "it is in use by another program; stop that, or choose another port (0 lets the system choose)"
        else:
            reason = os.strerror(code).lower() if code else str(exc)
        raise ListenError(f"can't listen on {text}: {reason}") from exc
    named = []
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        named.append((f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}", listener))
    return named


def _listen_unix(path: str) -> trio.SocketListener:
    _remove_stale_socket(path)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.bind(path)
        raw.listen(BACKLOG)
        raw.setblocking(False)
    except BaseException:
        raw.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


def _remove_stale_socket(path: str) -> None:
    """Remove the socket of a service that is no longer there; leave anything else alone, and let binding fail."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass


# Running


async def serve(
    settings: Settings,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    stop: trio.Event | None = None,
) -> None:
    """Run a service until it is stopped.

    Args:
        settings: What to run.
        task_status: Is given the addresses, with the ports that the system chose, once connections are accepted on all of them.
        stop: When set, the service takes no further connections, lets running answers finish for as long as
            `Settings.drain_timeout`, and returns. Cancelling ends it without letting them finish.

    Raises:
        SettingsError: The settings do not fit together.
        DataDirectoryError: The data directory can't be used.
        ListenError: An address can't be listened on.
    """
    if stop is None:
        stop = trio.Event()
    if settings.engine == "lmdb" and settings.data_dir is None:
        raise SettingsError("the engine lmdb needs a data directory: name one, or choose --engine memory")
    token = trio.lowlevel.current_trio_token()

    def open_in_thread() -> Engine:
        engine = open_engine(
            settings.engine, settings.data_dir, fsync=settings.fsync, wake=token.run_sync_soon,
            max_snapshots=settings.max_scans, max_snapshot_life=settings.max_scan_life + LIFE_MARGIN,
        )  # fmt: skip
        if settings.data_dir is not None:
            remove_all_in_thread(settings.data_dir)
        return engine

    def close_in_thread() -> None:
        engine.close()
        if settings.data_dir is not None:
            remove_all_in_thread(settings.data_dir)

    engine = await trio.to_thread.run_sync(open_in_thread)
    try:
        await _serve_engine(settings, engine, task_status, stop)
    finally:
        with trio.CancelScope(shield=True):
            # Carries out what is queued: bounded by what the connections, all gone by now, had submitted.
            await trio.to_thread.run_sync(close_in_thread, limiter=trio.CapacityLimiter(1))


async def _serve_engine(settings: Settings, engine: Engine, task_status: trio.TaskStatus[list[str]], stop: trio.Event) -> None:
    service = Service(settings, engine)
    named: list[tuple[str, trio.SocketListener]] = []
    try:
        for text in settings.listen:
            named += await _listen(text)
        service.addresses = [name for name, _ in named]
        async with trio.open_nursery() as background:
            background.start_soon(service.keep_house)
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as accepting:
                    for _, listener in named:
                        accepting.start_soon(_accept, service, listener, handlers)
                    task_status.started(service.addresses)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                service.drain()
                handlers.cancel_scope.deadline = trio.current_time() + settings.drain_timeout
            background.cancel_scope.cancel()
    finally:
        service.scans.end_all()
        for name, listener in named:
            listener.socket.close()
            if name.startswith("unix:"):
                _forget(name.removeprefix("unix:"))


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


async def _accept(service: Service, listener: trio.SocketListener, handlers: trio.Nursery) -> None:
    await trio.serve_listeners(service.handle, [listener], handler_nursery=handlers)


async def _stop_on_signals(stop: trio.Event, everything: trio.CancelScope, notify: Callable[[int], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                everything.cancel()
                return
            notify(number)
            stop.set()


async def serve_until_signal(settings: Settings, listening: Callable[[list[str]], None], stopping: Callable[[int], None]) -> None:
    """Run a service until SIGTERM or SIGINT, which let it finish what it does, or a second one, which does not.

    Args:
        settings: What to run.
        listening: Is called with the addresses once connections are accepted.
        stopping: Is called with the number of the first signal.
    """
    if settings.switch_interval:
        sys.setswitchinterval(settings.switch_interval)
    stop = trio.Event()
    try:
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
                await serve(settings, task_status=task_status, stop=stop)
                nursery.cancel_scope.cancel()

            nursery.start_soon(_stop_on_signals, stop, nursery.cancel_scope, stopping)
            listening(await nursery.start(run))
    except BaseExceptionGroup as group:
        raise_the_one(group)
