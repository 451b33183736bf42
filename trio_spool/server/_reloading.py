"""What can change while a service runs is read again at SIGHUP: the users, and most settings."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, TypeAlias

import trio

from ..auth import UsersError
from .settings import Settings, SettingsError
from .shared import Shared

_USERS_STAY: Final = "the users stay as they were"
_USERS_RELOADED: Final = "users reloaded"
# Returns the settings as they are to be. Called in a worker thread.
Reread: TypeAlias = Callable[[], Settings]


class Reloading:
    """Reads things again.

    Args:
        shared: What they are for.
        reread: Returns the settings as they are to be; None if they stay as they are.
        changed: Called with the settings whenever they have been read again and taken over.
    """

    def __init__(
        self, shared: Shared, reread: Reread | None, changed: Callable[[Settings], object] = lambda settings: None
    ) -> None:
        self._shared = shared
        self._reread = reread
        self._changed = changed

    @property
    def of_anything(self) -> bool:
        """Whether there is something that can be read again."""
        return self._reread is not None or self._shared.settings.users is not None

    async def on_signal(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read everything again at every SIGHUP. Only the main thread of a process receives signals."""
        with ExitStack() as receiving:
            try:
                signals = receiving.enter_context(trio.open_signal_receiver(signal.SIGHUP))
            except RuntimeError:
                task_status.started()
                return
            task_status.started()
            async for _ in signals:
                await self.reload()

    async def reload(self) -> None:
        """Read everything again. What can't be used stays as it was, and the log says why.

        A disk that does not answer keeps neither clients waiting nor a service from ending.
        """
        with self._shared.life.reloading():
            await self._reload()

    async def _reload(self) -> None:
        logins = self._shared.logins
        if self._shared.settings.users is not None:
            try:
                users = await trio.to_thread.run_sync(logins.read_in_thread, abandon_on_cancel=True)
            except UsersError as exc:
                self._shared.log.error(_USERS_STAY, reason=str(exc))
            else:
                logins.take(users)
                self._shared.log.warning(_USERS_RELOADED, users=len(logins))
        if self._reread is not None:
            try:
                settings = await trio.to_thread.run_sync(self._reread, abandon_on_cancel=True)
            except SettingsError as exc:
                self._shared.log.error("the settings stay as they were", reason=str(exc))
            else:
                self._take(settings)

    def reload_users(self) -> None:
        """Read the file of users again. If it can't be used, the users stay as they were, and the log says why."""
        logins, log = self._shared.logins, self._shared.log
        try:
            logins.reload()
        except UsersError as exc:
            log.error(_USERS_STAY, reason=str(exc))
        else:
            log.warning(_USERS_RELOADED, users=len(logins))

    def _take(self, settings: Settings) -> None:
        shared = self._shared
        try:
            taken, changed, fixed = shared.settings.changed_to(settings)
        except SettingsError as exc:  # those that can change do not fit those that can't
            shared.log.error("the settings stay as they were", reason=str(exc))
            return
        shared.change(taken)
        self._changed(taken)
        changes = {name: getattr(taken, name) for name in changed}
        shared.log.warning("settings reloaded", changed=changes or "nothing")
        if fixed:
            names = " ".join(f"--{name.replace('_', '-')}" for name in fixed)
            shared.log.warning("settings that can change only with a restart stay as they were", options=names)
