"""The service: its listeners, its connections, and its end."""

from __future__ import annotations

import signal
import ssl
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import structlog
import trio
from trio_util import periodic

from .._core import SpoolStatistics, raise_the_one
from ..auth import UsersError
from ..engine import find_engine
from ._buckets import Bucket, Buckets
from ._checks import SettingsError
from ._connection import Connection
from ._counters import Clock, Counters, Timings
from ._files import FileSnapshot, FileSnapshots, remove_all_in_thread
from ._listening import Listening, listen, names_of
from ._logins import Logins
from ._scans import Scans
from ._session import Door
from ._settings import Settings, TcpAddress, UnixAddress, parse_address

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Copies of the database that are made at one time: more would only take turns at the disk.
COPIERS = 2
# Seconds between two looks for what has become too old.
HOUSEKEEPING = 0.5
# Seconds that a client may take to shake hands, and to say farewell.
TLS_TIMEOUT = 10.0


class Service:
    """What all connections share. Used by the event loop's thread alone, but for the engines."""

    def __init__(self, settings: Settings, buckets: Buckets, logins: Logins) -> None:
        self.settings = settings
        self.buckets = buckets
        self.logins = logins
        self.epoch = int(time.time())
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

    async def handle(self, stream: trio.SocketStream, door: Door, tls: ssl.SSLContext | None = None) -> None:
        """Serve one connection, and let nothing that goes wrong in it go further."""
        if self._draining or len(self.connections) >= self.settings.max_connections:
            self.counters.rejected_connections += 1
            await trio.aclose_forcefully(stream)
            return
        self.counters.total_connections += 1
        self._numbers += 1
        connection = Connection(self, self._numbers, _peer_name(stream), door)
        self.connections.add(connection)
        try:
            if tls is None:
                async with stream:
                    await connection.run(stream)
            else:
                await self._run_encrypted(connection, trio.SSLStream(stream, tls, server_side=True, https_compatible=True))
        except Exception:
            self.log.exception("connection failed", connection=connection.number)
        finally:
            self.connections.discard(connection)
            self.scans.end_of(connection.number)
            self._past_bytes += connection.bytes_written()
            self._past_spools += connection.spool_statistics()

    async def _run_encrypted(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            try:
                with trio.fail_after(TLS_TIMEOUT):
                    await stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError) as exc:
                self.log.info("no TLS handshake", connection=connection.number, reason=str(exc.__cause__ or exc))
                return
            self._log_in_by_certificate(connection, stream)
            await connection.run(stream)
            with trio.move_on_after(TLS_TIMEOUT):
                await stream.aclose()
        finally:
            await trio.aclose_forcefully(stream)

    def _log_in_by_certificate(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        if self.logins.required:
            for name in names_of(stream.getpeercert()):
                user = self.logins.get(name)
                if user is not None:
                    connection.log_in(user)
                    return

    def leave(self, bucket: Bucket, but: int) -> None:
        """End everything that uses a bucket, which is going, except the connection that asked for it, which stays without one."""
        for connection in list(self.connections):
            connection.leave(bucket, stay=connection.number == but)
        for scan in [scan for scan in self.scans if scan.bucket is bucket]:
            self.scans.end(scan)

    def reload_users(self) -> None:
        """Read the file of users again; if that can't be used, log why, and go on with those that there are."""
        try:
            self.logins.reload()
        except UsersError as exc:
            self.log.error("the users stay as they were", reason=str(exc))
        else:
            self.log.warning("users reloaded", users=len(self.logins))

    async def sweep(self) -> None:
        """Remove what is left of dropped collections, for ever."""
        async for _ in periodic(HOUSEKEEPING):
            for bucket in self.buckets:
                await bucket.sweep()

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
        """Return the first TCP port without TLS that it listens on, or 0."""
        for text in self.addresses:
            address = parse_address(text)
            if isinstance(address, TcpAddress) and not address.tls:
                return address.port
        return 0

    def tls_port(self) -> int:
        """Return the first port with TLS that it listens on, or 0."""
        for text in self.addresses:
            address = parse_address(text)
            if isinstance(address, TcpAddress) and address.tls:
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
    if find_engine(settings.engine).needs_directory and settings.data_dir is None:
        raise SettingsError(f"the engine {settings.engine} needs a data directory: name one, or choose --engine memory")
    try:
        logins = Logins(settings.users)
    except UsersError as exc:
        raise SettingsError(str(exc)) from exc
    buckets = Buckets(settings, trio.lowlevel.current_trio_token().run_sync_soon)

    ours = False  # the data directory: until it is, another service may be at work in it

    def open_in_thread() -> None:
        nonlocal ours
        buckets.open_all_in_thread()
        ours = True
        if settings.data_dir is not None:
            remove_all_in_thread(settings.data_dir)

    def close_in_thread() -> None:
        try:
            if ours and settings.data_dir is not None:
                remove_all_in_thread(settings.data_dir)
        finally:
            buckets.close_all_in_thread()

    try:
        await trio.to_thread.run_sync(open_in_thread)
        await _serve_buckets(Service(settings, buckets, logins), task_status, stop)
    finally:
        with trio.CancelScope(shield=True):
            # Carries out what is queued: bounded by what the connections, all gone by now, had submitted.
            await trio.to_thread.run_sync(close_in_thread, limiter=trio.CapacityLimiter(1))


async def _serve_buckets(service: Service, task_status: trio.TaskStatus[list[str]], stop: trio.Event) -> None:
    settings = service.settings
    opened: list[Listening] = []
    try:
        for text in settings.listen:
            opened += await listen(text, settings, login=service.logins.required)
        service.addresses = [listening.name for listening in opened]
        async with trio.open_nursery() as background:
            background.start_soon(service.keep_house)
            background.start_soon(service.sweep)
            if settings.users is not None and hasattr(signal, "SIGHUP"):
                background.start_soon(_reload_on_signal, service)
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as accepting:
                    for listening in opened:
                        accepting.start_soon(_accept, service, listening, handlers)
                    task_status.started(service.addresses)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                service.drain()
                handlers.cancel_scope.deadline = trio.current_time() + settings.drain_timeout
            background.cancel_scope.cancel()
    finally:
        service.scans.end_all()
        for listening in opened:
            listening.close()


async def _accept(service: Service, listening: Listening, handlers: trio.Nursery) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await service.handle(stream, listening.door, listening.tls)

    await trio.serve_listeners(handle, [listening.listener], handler_nursery=handlers)


async def _reload_on_signal(service: Service) -> None:
    """Read the file of users again whenever SIGHUP arrives. Only the main thread of a process gets signals."""
    try:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                service.reload_users()
    except RuntimeError:
        pass


async def _note_hangups() -> None:
    """Log that there is nothing to read again whenever SIGHUP arrives, which by itself would end the process."""
    log = structlog.get_logger("trio_spool")
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            log.warning("there is no file of users to read again; name one with --users")


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

    SIGHUP does not end it: it has the file of users read again, or is logged if there is none.

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
            if settings.users is None and hasattr(signal, "SIGHUP"):
                nursery.start_soon(_note_hangups)
            listening(await nursery.start(run))
    except BaseExceptionGroup as group:
        raise_the_one(group)
