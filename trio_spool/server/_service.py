"""The life of a service: it opens its data, accepts connections, keeps house, drains, and closes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

import trio
from trio_util import periodic, wait_any

from .._core import let_go
from .._formats import host_and_port, host_of
from .._incidents import place_of
from ..auth import UsersError
from ..engine import EngineError, EngineFailedError, compile_all_in_thread, find_engine
from ._connection import Connection
from ._keepalive import keep_alive
from ._listening import BoundListener, listen, names_of
from ._reloading import Reloading, Reread
from ._turning_away import MAX_TOLD, turn_away
from .conversation import Detect
from .data import Bucket
from .protocols import detect, refuse_first
from .settings import Settings, SettingsError
from .shared import Listener, NoPlace, Shared, Tuning, counted_as, remove_all_in_thread

# Connections that are looked at for limits of time without a break: less than half a millisecond of the event loop.
_AT_ONCE: Final = 64

SLOW_WRITE: Final = "a disk does not answer, and writes wait for it"
# Seconds for which running answers may finish when an engine has failed. Picked, not measured: what waits for the engine is
# answered at once, and a supervisor should soon start the service again.
FAILED_DRAIN: Final = 1.0

# Seconds between two looks at connections that wait for the end of their scans. Picked, not measured.
DRAIN_INTERVAL: Final = 0.05


class Service:
    """A service that has not begun yet. Make it in the event loop that is to run it, and `run` it, once.

    Attributes:
        shared: What its connections share.
        turned_away: How many clients are being told that there is no place for them.

    Args:
        settings: What to run.
        tuning: Values that are no settings.
        detect: Returns the protocol that begins with a byte.
        failing: Called with the reason when the engine of a bucket has failed, before the service ends because of that.
        reread: Returns the settings as they are to be after SIGHUP. Called in a worker thread; None if they stay as they are.

    Raises:
        SettingsError: The settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tuning: Tuning | None = None,
        detect: Detect = detect,
        failing: Callable[[EngineFailedError], object] = lambda failure: None,
        reread: Reread | None = None,
    ) -> None:
        engine = find_engine(settings.engine)
        if engine.needs_directory and settings.data_dir is None:
            raise SettingsError(f"the engine {engine.name} needs a data directory: name one, or choose --engine memory")
        try:
            self.shared = Shared(settings, tuning if tuning is not None else Tuning())
        except UsersError as exc:
            raise SettingsError(str(exc)) from exc
        self._settings = settings
        self._detect = detect
        self._failing = failing
        self._reloading = Reloading(self.shared, reread)
        self.turned_away = 0
        self._begun = False
        self._draining = False
        self._owns_directory = False  # until it does, another service may be using the data directory

    async def run(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED, stop: trio.Event) -> None:
        """Run until stopped: see `serve`.

        Raises:
            RuntimeError: It has been run before.
            EngineFailedError: The engine of a bucket has failed.
        """
        if self._begun:
            raise RuntimeError("a Service runs once: make another one")
        self._begun = True
        try:
            await trio.to_thread.run_sync(self._open_in_thread)
            await self._run(task_status, stop)
        finally:
            with trio.CancelScope(shield=True):
                # Carries out what is queued: bounded by what the connections, which have all ended by now, had submitted.
                await trio.to_thread.run_sync(self._close_in_thread, limiter=trio.CapacityLimiter(1))

    def _open_in_thread(self) -> None:
        self.shared.buckets.open_all_in_thread()
        self._owns_directory = True
        if self._settings.data_dir is not None:
            remove_all_in_thread(self._settings.data_dir)

    def _close_in_thread(self) -> None:
        try:
            # After a failure, the directory may be somebody else's by now. The next start removes what is left there.
            if self._owns_directory and self._settings.data_dir is not None and self.shared.buckets.failure is None:
                remove_all_in_thread(self._settings.data_dir)
        finally:
            self._close_buckets_in_thread()
            self.shared.incidents.finish()

    def _close_buckets_in_thread(self) -> None:
        try:
            self.shared.buckets.close_all_in_thread()
        except EngineError as exc:
            if self.shared.buckets.failure is None:
                raise
            # The first failure is why the service ends, and this one may follow from it.
            self.shared.log.error("a bucket was not closed properly", reason=str(exc))

    async def _run(self, task_status: trio.TaskStatus[list[str]], stop: trio.Event) -> None:
        shared, opened = self.shared, list[BoundListener]()
        try:
            for address, port in zip(self._settings.addresses, self._settings.advertised, strict=True):
                opened += await listen(address, self._settings, login=shared.logins.required, advertised=port)
            shared.listening = [listener.address for listener in opened]
            shared.listeners = [listener.listener for listener in opened]
            async with trio.open_nursery() as background:
                background.start_soon(self._prepare_documents)
                background.start_soon(self._end_old)
                background.start_soon(self._keep_time)
                background.start_soon(self._look_at_incidents)
                background.start_soon(self._sweep)
                if self._reloading.of_anything:
                    await background.start(self._reloading.on_signal)  # a signal that came earlier would end the process
                background.start_soon(shared.waits.look)
                async with trio.open_nursery() as handlers:
                    async with trio.open_nursery() as accepting:
                        for listener in opened:
                            accepting.start_soon(self._accept, listener, handlers)
                        task_status.started([str(address) for address in shared.listening])
                        await wait_any(stop.wait, shared.buckets.failed.wait)
                        accepting.cancel_scope.cancel()
                    self._draining = True
                    patience = shared.settings.drain_timeout
                    if shared.buckets.failure is not None:
                        self._failing(shared.buckets.failure)
                        patience = min(patience, FAILED_DRAIN)
                    background.start_soon(self._drain, handlers.cancel_scope, patience)
                background.cancel_scope.cancel()
            if shared.buckets.failure is not None:
                raise shared.buckets.failure
        finally:
            shared.scans.close()
            for listener in opened:
                listener.close()

    async def _drain(self, handlers: trio.CancelScope, patience: float) -> None:
        """End each open connection as soon as everything that was asked for is answered, and all of them after a while.

        Clients whose scans are cut off get a moment to hear of it: Couchbase's SDKs take a connection that ends between two
        continues for the end of the scan, and would return a part of the documents for all of them.
        """
        with trio.move_on_after(patience):
            await self._end_connections()
        if any(self.shared.scans):
            self.shared.scans.close()
            with trio.move_on_after(self.shared.tuning.last_words):
                await self._end_connections()
        handlers.cancel()

    async def _end_connections(self) -> None:
        """End each connection as soon as everything that was asked for is answered; what ends its scan may be something else."""
        while True:
            for connection in self.shared.connections:
                connection.stop()
            await trio.sleep(DRAIN_INTERVAL)

    # Connections

    async def _accept(self, listener: BoundListener, handlers: trio.Nursery) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            await self._handle(stream, listener.listener, listener.tls)

        await listener.accept(handle, handlers, self.shared.incidents)

    async def _handle(self, stream: trio.SocketStream, listener: Listener, tls: ssl.SSLContext | None) -> None:
        """Serve one connection, and let nothing that goes wrong in it go further."""
        shared, peer = self.shared, _peer_name(stream)
        counted = counted_as(host_of(peer))
        refusal = shared.admission.refusal(counted, len(shared.connections), shared.settings)
        if self._draining or refusal is not None:
            shared.counters.rejected_connections += 1
            if refusal is not None and not self._draining:
                await self._refuse(stream, peer, refusal, tls)
            await trio.aclose_forcefully(stream)
            return
        keep_alive(stream, shared.settings.keepalive)
        shared.admission.enter(counted)
        shared.counters.total_connections += 1
        connection = Connection(shared, shared.connections.next_number(), peer, listener, self._detect)
        shared.connections.add(connection)
        try:
            if tls is None:
                async with stream:
                    await connection.run(stream)
            else:
                await self._run_encrypted(connection, trio.SSLStream(stream, tls, server_side=True, https_compatible=True))
        except Exception as exc:
            shared.incidents.report(
                "connection failed", place=place_of(exc), level="error", error=exc, connection=connection.number, peer=peer
            )
            let_go(exc)
        finally:
            shared.connections.remove(connection)
            shared.admission.leave(counted)
            shared.timekeeper.forget(connection)
            shared.buffers.forget(connection)
            shared.scans.end_of(connection.number)
            shared.snapshots.end_of(connection.number)
            shared.allocator.ended(connection.moved)

    async def _refuse(self, stream: trio.SocketStream, peer: str, refusal: NoPlace, tls: ssl.SSLContext | None) -> None:
        """Tell a client for which there is no place, unless many are being told already."""
        shared, seconds = self.shared, self.shared.tuning.farewell
        shared.incidents.report(refusal.event, place=refusal.place, peer=peer, limit=refusal.limit, hint=f"raise {refusal.option}")
        if self.turned_away >= MAX_TOLD:
            return
        self.turned_away += 1
        try:
            if tls is None:
                await turn_away(stream, refuse_first, refusal.told, seconds)
            else:
                encrypted = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
                with trio.fail_after(seconds):
                    await encrypted.do_handshake()
                await turn_away(encrypted, refuse_first, refusal.told, seconds)
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            let_go(exc)  # the client has gone, or does not want to know
        finally:
            self.turned_away -= 1

    async def _run_encrypted(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            try:
                with trio.fail_after(self.shared.tuning.tls_timeout):
                    await stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError) as exc:
                let_go(exc)
                reason = str(exc.__cause__ or exc) or f"it took more than {self.shared.tuning.tls_timeout:g} seconds"
                peer, _ = connection.who()
                self.shared.incidents.report("no TLS handshake", place=host_of(peer), peer=peer, reason=reason)
                return
            self._log_in_by_certificate(connection, stream)
            await connection.run(stream)
        finally:
            # Without a farewell, as HTTPS does it: who has gone does not answer.
            await trio.aclose_forcefully(stream)

    def _log_in_by_certificate(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        logins = self.shared.logins
        if logins.required:
            for name in names_of(stream.getpeercert()):
                user = logins.get(name)
                if user is not None:
                    connection.log_in(user)
                    return

    async def _prepare_documents(self) -> None:
        """Compile what documents are read with, so that the first client that looks into one need not wait for that."""
        await trio.to_thread.run_sync(compile_all_in_thread, abandon_on_cancel=True)

    # Housekeeping, for ever

    async def _end_old(self) -> None:
        """End the scans and remove the snapshots that have become too old."""
        shared = self.shared
        async for _ in periodic(shared.tuning.housekeeping):
            shared.scans.end_old()
            for bucket in shared.buckets:
                self._look_at(bucket)
            await shared.allocator.tidy()
            if idle := shared.snapshots.take_idle():
                await shared.snapshots.remove(idle)

    def _look_at(self, bucket: Bucket) -> None:
        """Log what a bucket has not kept up with."""
        incidents, name = self.shared.incidents, bucket.name
        if ended := bucket.take_ended():
            hint = "read scans faster, or raise --max-held-size"
            incidents.report("scans ended: they kept too much on disk", place=name, bucket=name, ended=ended, hint=hint)
        busy = bucket.engine.busy_seconds
        if busy >= self.shared.tuning.slow_write:
            # Nothing else can be done: a thread that waits for a disk can't be stopped, and what it writes may still get there.
            incidents.report(SLOW_WRITE, place=name, level="error", bucket=name, seconds=round(busy, 1))

    async def _keep_time(self) -> None:
        """End the connections that take too long, and those that hold too much."""
        shared = self.shared
        while True:
            await trio.sleep(shared.timekeeper.interval(shared.tuning.housekeeping))
            for number, connection in enumerate(shared.connections, 1):
                shared.timekeeper.look(connection)
                if not number % _AT_ONCE:
                    await trio.lowlevel.checkpoint()
            shared.buffers.look_if_much()

    async def _look_at_incidents(self) -> None:
        """Log which incidents are over or go on."""
        async for _ in periodic(self.shared.tuning.housekeeping):
            self.shared.incidents.look()

    async def _sweep(self) -> None:
        """Remove the items of dropped collections."""
        tuning = self.shared.tuning
        async for _ in periodic(tuning.housekeeping):
            for bucket in self.shared.buckets:
                await bucket.sweep(tuning.sweep)

    def reload_users(self) -> None:
        """Read the file of users again. If it can't be used, the users stay as they were, and the log says why."""
        self._reloading.reload_users()

    async def reload(self) -> None:
        """Read everything again that can change while the service runs, as at SIGHUP."""
        await self._reloading.reload()


def _peer_name(stream: trio.SocketStream) -> str:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "gone"
    return host_and_port(*name[:2]) if isinstance(name, tuple) else "unix"


async def serve(
    settings: Settings,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    stop: trio.Event | None = None,
    reread: Reread | None = None,
) -> None:
    """Run a service until it is stopped.

    Args:
        settings: What to run.
        task_status: Receives the addresses, with the ports that the system chose, once connections are accepted on all of them.
        stop: When set, the service accepts no further connections, lets running answers finish for as long as
            `Settings.drain_timeout`, and returns. Cancelling ends it without letting them finish.
        reread: Returns the settings as they are to be after SIGHUP; those that can't change while it runs stay as they were. It is
            called in a worker thread, and may raise `SettingsError`. Only the main thread of a process receives signals.

    Raises:
        SettingsError: The settings do not fit together.
        DataDirectoryError: The data directory can't be used.
        ListenError: The service can't listen on an address.
        EngineFailedError: The engine of a bucket has failed, so that nothing more can be stored in it. Everybody was told, and the
            service has ended. Start another one: what was acknowledged is still there, as far as `Settings.fsync` promises it.
    """
    await Service(settings, reread=reread).run(task_status=task_status, stop=stop if stop is not None else trio.Event())
