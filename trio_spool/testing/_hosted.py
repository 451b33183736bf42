"""A server for tests in the process of servers: this side of the conversation that `_host` describes."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ._process import current_host
from ._server import Server

# Settings that are paths.
_PATHS: Final = ("data_dir", "users", "tls_cert", "tls_key", "tls_client_ca")


class RemoteTraceback(Exception):
    """The traceback that a server's error has in the server's process: the cause of that error here."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


class HostedServer:
    """A server in the process of servers, with the methods of `ServerThread`. One thread at a time can call them.

    Args:
        settings: The settings of the server, by their names.
        job: The other attributes of a `Job`.

    Raises:
        ValueError: A setting can't be sent to another process.
    """

    def __init__(self, settings: Mapping[str, Any], **job: Any) -> None:
        try:
            self._packed = pickle.dumps({**job, "settings": _independent(settings)})
        except Exception as exc:  # pickle raises what it likes
            raise ValueError(
                f"a setting can't be sent to the server's process: {exc}; run the server in a thread: thread=True"
            ) from exc  # fmt: skip
        self._answers = False  # whether another message comes

    def start(self) -> None:
        """Ask for the server."""
        self._host = current_host()
        try:
            self._channel = self._host.connect()
        except OSError:  # it has just ended: wait for that, and start another one
            self._host.died()
            self._host = current_host()
            self._channel = self._host.connect()
        self._file = self._channel.makefile("rwb")
        self._answers = True
        try:
            self._file.write(self._packed)
            self._file.flush()
        except OSError:
            pass  # the process has ended, which is found out below

    def wait_started(self) -> Server:
        """Wait until the server accepts connections and the buckets exist.

        Raises:
            ServerDiedError: The process has ended.
            Exception: The error that kept the server from starting.
        """
        server = self._receive()
        assert server is not None
        return server

    def stop(self) -> None:
        """Stop the server, wait for its end, and print to standard error what the process has logged.

        Raises:
            ServerDiedError: The process has ended.
            Exception: The error that ended the server after it had started.
        """
        try:
            if self._answers and not self._host.closed and not sys.is_finalizing():
                try:
                    self._channel.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the process has ended, and is asked how below
                self._receive()
        finally:
            self._file.close()
            self._channel.close()
            if log := self._host.take_log():
                print(log, end="", file=sys.stderr)

    def _receive(self) -> Server | None:
        self._answers = False  # an interrupt may leave half a message
        try:
            message: Server | tuple[Any, ...] | None = pickle.load(self._file)
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            raise self._host.died() from None
        if isinstance(message, tuple):
            raise _unpacked(*message)
        self._answers = message is not None
        return message


def _unpacked(kind: type[Exception], arguments: tuple[Any, ...], attributes: dict[str, Any], traceback: str) -> Exception:
    """Return an error as it was in the other process. Its `__init__` is not called: it may want other arguments."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    error.__cause__ = RemoteTraceback(traceback)
    return error


def _independent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that do not depend on the current directory, which is another one there."""
    changed: dict[str, object] = {
        name: Path(value).absolute()
        for name, value in settings.items()
        if name in _PATHS and isinstance(value, (str, os.PathLike))
    }  # fmt: skip
    listen = settings.get("listen")
    if isinstance(listen, Iterable):
        listen = (listen,) if isinstance(listen, str) else tuple(listen)
        changed["listen"] = tuple(map(_independent_address, listen))
    return {**settings, **changed}


def _independent_address(address: Any) -> Any:
    if isinstance(address, str) and address.startswith("unix:") and len(address) > len("unix:"):
        return "unix:" + os.path.abspath(address.removeprefix("unix:"))
    return address
