"""The life of a service: it opens its data, accepts connections, keeps house, drains, and closes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

import trio
from trio_util import wait_any

from .._core import raise_the_one
from ..auth import UsersError
from ..engine import EngineError, EngineFailedError, compile_all_in_thread, find_engine
from ._companions import Companion, accompany, companions, observers
from ._housekeeping import keep_house
from ._introduction import count_items_in_thread, introduce
from ._listening import BoundListener, adopt, listen
from ._reception import Reception
from ._reloading import Reloading, Reread
from .conversation import Detect
from .protocols import detecting
from .settings import Settings, SettingsError
from .shared import Shared, Stage, Tuning, remove_all_in_thread

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Seconds for which running answers may finish when an engine has failed. Picked, not measured: what waits for the engine is
# answered at once, and a supervisor should soon start the service again.
FAILED_DRAIN: Final = 1.0

# Seconds between two looks at connections that wait for the end of their scans. Picked, not measured.
DRAIN_INTERVAL: Final = 0.05


class Service:
    """A service that has not begun yet. Make it in the event loop that is to run it, and `run` it, once.

    Attributes:
        shared: What its connections share.
        reception: Serves them.

    Args:
        settings: What to run.
        tuning: Values that are no settings.
        detect: Returns the protocol that begins with a byte; None for the protocols of the settings.
        failing: Called with the reason when the engine of a bucket has failed, before the service ends because of that.
        reread: Returns the settings as they are to be after SIGHUP. Called in a worker thread; None if they stay as they are.
        changed: Called with the settings whenever that has changed them.
        beside: What runs beside the service of clients; None for what the settings ask for.
        sockets: Sockets that listen on the addresses of the settings, in the same order; none if the service is to make them. They
            stay open when the service ends.

    Raises:
        SettingsError: The settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tuning: Tuning | None = None,
        detect: Detect | None = None,
        failing: Callable[[EngineFailedError], object] = lambda failure: None,
        reread: Reread | None = None,
        changed: Callable[[Settings], object] = lambda settings: None,
        beside: Sequence[Companion] | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        engine = find_engine(settings.engine)
        if engine.needs_directory and settings.data_dir is None:
            raise SettingsError(f"the engine {engine.name} needs a data directory: name one, or choose --engine memory")
        try:
            self.shared = Shared(settings, tuning if tuning is not None else Tuning())
        except UsersError as exc:
            raise SettingsError(str(exc)) from exc
        self._settings = settings
        self.reception = Reception(self.shared, detecting(settings.protocols) if detect is None else detect)
        self._companions = list(companions(settings) if beside is None else beside)
        self._sockets = sockets
        self._failing = failing
        self._reloading = Reloading(self.shared, reread, changed)
        self._items: dict[str, int] = {}  # at the beginning
        self._observed: list[str] = []  # the addresses of observers
        self._begun = False
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
            async with trio.open_nursery() as beside:
                for observer in observers(self._settings):
                    self._observed += await beside.start(accompany, observer, self.shared)
                try:
                    await trio.to_thread.run_sync(self._open_in_thread)
                    await self._run(task_status, stop)
                finally:
                    with trio.CancelScope(shield=True):
                        # Carries out what is queued: bounded by what the connections, which have all ended by now, had submitted.
                        await trio.to_thread.run_sync(self._close_in_thread, limiter=trio.CapacityLimiter(1))
                    beside.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise_the_one(group)

    def _open_in_thread(self) -> None:
        self.shared.buckets.open_all_in_thread()
        self._owns_directory = True
        if self._settings.data_dir is not None:
            remove_all_in_thread(self._settings.data_dir)
        self._items = count_items_in_thread(self.shared)

    def _close_in_thread(self) -> None:
        try:
            # After a failure, the directory may be somebody else's by now. The next start removes what is left there.
            if self._owns_directory and self._settings.data_dir is not None and self.shared.buckets.failure is None:
                remove_all_in_thread(self._settings.data_dir)
        finally:
            self._close_buckets_in_thread()
            self.shared.incidents.finish()
            self.shared.slow.finish()

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
            await self._listen(opened)
            shared.listening = [listener.address for listener in opened]
            shared.listeners = [listener.listener for listener in opened]
            async with trio.open_nursery() as background:
                background.start_soon(_prepare_documents)
                background.start_soon(keep_house, shared)
                if self._reloading.of_anything:
                    await background.start(self._reloading.on_signal)  # a signal that came earlier would end the process
                listening = [str(address) for address in shared.listening]
                for companion in self._companions:
                    listening += await background.start(accompany, companion, shared)
                listening += self._observed
                await self._serve(opened, listening, background, task_status, stop)
                background.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise_the_one(group)
        finally:
            shared.scans.close()
            for listener in opened:
                listener.close()
        if shared.buckets.failure is not None:
            raise shared.buckets.failure

    async def _listen(self, opened: list[BoundListener]) -> None:
        """Listen on all addresses, or by the sockets that there are for them."""
        settings, login = self._settings, self.shared.logins.required
        for index, (address, port) in enumerate(zip(settings.addresses, settings.advertised, strict=True)):
            if self._sockets:
                opened.append(adopt(self._sockets[index], address, settings, login=login, advertised=port))
            else:
                opened += await listen(address, settings, login=login, advertised=port)

    async def _serve(
        self, opened: list[BoundListener], listening: list[str], background: trio.Nursery,
        task_status: trio.TaskStatus[list[str]], stop: trio.Event,
    ) -> None:  # fmt: skip
        """Serve clients until the service is stopped or an engine fails, and then until they have ended."""
        shared = self.shared
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as accepting:
                for listener in opened:
                    accepting.start_soon(self.reception.accept, listener, clients)
                introduce(shared, listening, self._items)
                shared.life.enter(Stage.SERVING)
                task_status.started(listening)
                await wait_any(stop.wait, shared.buckets.failed.wait)
                accepting.cancel_scope.cancel()
            shared.life.enter(Stage.DRAINING)
            patience = shared.settings.drain_timeout
            if shared.buckets.failure is not None:
                self._failing(shared.buckets.failure)
                patience = min(patience, FAILED_DRAIN)
            background.start_soon(self._drain, clients.cancel_scope, patience)

    async def _drain(self, handlers: trio.CancelScope, patience: float) -> None:
        """End each open connection as soon as everything that was asked for is answered, and all of them after a while.

        Clients whose scans are cut off get a moment to hear of it: Couchbase's SDKs take a connection that ends between two
        continues for the end of the scan, and would return a part of the documents for all of them.
        """
        self.shared.events.close()
        with trio.move_on_after(patience):
            await self._end_connections()
        if any(self.shared.scans):
            self.shared.scans.close()
            with trio.move_on_after(self.shared.tuning.last_words):
                await self._end_connections()
        self.shared.limits.hit("drain-timeout")
        handlers.cancel()

    async def _end_connections(self) -> None:
        """End each connection as soon as everything that was asked for is answered; what ends its scan may be something else."""
        while True:
            for connection in self.shared.connections:
                connection.stop()
            await trio.sleep(DRAIN_INTERVAL)

    def reload_users(self) -> None:
        """Read the file of users again. If it can't be used, the users stay as they were, and the log says why."""
        self._reloading.reload_users()

    async def reload(self) -> None:
        """Read everything again that can change while the service runs, as at SIGHUP."""
        await self._reloading.reload()


async def _prepare_documents() -> None:
    """Compile what documents are read with, so that the first client that looks into one need not wait for that."""
    await trio.to_thread.run_sync(compile_all_in_thread, trio.from_thread.check_cancelled)


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
