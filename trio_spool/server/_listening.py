"""Listeners: TCP, TLS and Unix domain sockets."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from ._checks import SettingsError
from ._session import Door
from ._settings import Settings, TcpAddress, UnixAddress, parse_address

# Connections that the system may hold until they are accepted.
BACKLOG = 1024


class ListenError(Exception):
    """An address can't be listened on. The message says which, and why."""


@attrs.frozen
class Listening:
    """A listener.

    Attributes:
        name: Its address, with the port that the system chose.
        listener: Accepts connections.
        door: How clients come in here.
        tls: What encrypts them, if anything.
    """

    name: str
    listener: trio.SocketListener
    door: Door
    tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Stop listening; remove the file of a Unix domain socket."""
        self.listener.socket.close()
        if self.name.startswith("unix:"):
            try:
                os.unlink(self.name.removeprefix("unix:"))
            except OSError:
                pass


async def listen(text: str, settings: Settings, *, login: bool) -> list[Listening]:
    """Listen on an address; a host name may stand for several.

    Raises:
        ListenError: That does not work.
        SettingsError: The certificates can't be used.
    """
    address = parse_address(text)
    try:
        if isinstance(address, UnixAddress):
            return [Listening(text, _listen_unix(address.path), Door(login=login))]
        context = tls_context(settings) if address.tls else None
        listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as exc:
        raise ListenError(f"can't listen on {text}: {_reason(exc, address, settings)}") from exc
    opened = []
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        name = f"{address.scheme}://[{host}]:{port}" if ":" in host else f"{address.scheme}://{host}:{port}"
        opened.append(Listening(name, listener, Door(port, address.tls, login), context))
    return opened


def _reason(error: OSError, address: TcpAddress | UnixAddress, settings: Settings) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if error.errno != errno.EADDRINUSE:
        return os.strerror(error.errno).lower() if error.errno else str(error)
    if isinstance(address, UnixAddress):
        return _what_is_there(address.path)
    others = [text for text in settings.listen if parse_address(text) != address and _port(text) == address.port]
    if others:
        return f"it is in use, by {' or '.join(others)} or by another program; leave one out, or choose another port"
    return "it is in use by another program; stop that, or choose another port (0 lets the system choose)"


def _port(text: str) -> int | None:
    address = parse_address(text)
    return address.port if isinstance(address, TcpAddress) else None


def _what_is_there(path: str) -> str:
    """Return why a socket can't be made at a path where there is something already."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        mode = 0  # it has gone in the meantime
    if stat.S_ISDIR(mode):
        return "a directory is there; name a path in it, or another one"
    if mode and not stat.S_ISSOCK(mode):
        return "a file that is not a socket is at that path; move it away, or choose another path"
    return "it is in use by another program; stop that, or choose another path"


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return what encrypts connections: TLS 1.2 and up, with the certificate that the settings name.

    Raises:
        SettingsError: The certificates can't be used.
    """
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None or key is None:
        raise SettingsError("an address tls://… needs a certificate and its key: give --tls-cert and --tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificate(context, certificate, key)
    if settings.tls_client_ca is not None:
        authority = settings.tls_client_ca
        _load(lambda: context.load_verify_locations(authority), "certificates of those who sign clients'", authority)
        context.verify_mode = ssl.CERT_REQUIRED if settings.tls_client_required else ssl.CERT_OPTIONAL
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    encrypted = False

    def passphrase() -> str:
        """Is called if the key is encrypted. Without it, OpenSSL would ask for the passphrase at the terminal, and wait."""
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        _load(lambda: context.load_cert_chain(certificate, key, password=passphrase), "certificate and key", certificate, key)
    except SettingsError as exc:
        if not encrypted:
            raise
        raise SettingsError(
            f"the key in {key} is encrypted with a passphrase, which the server can't ask for; "
            f"decrypt it (openssl pkey -in {key} -out FILE) into a file that only the server can read, and give that as --tls-key"
        ) from exc


def _load(load: Callable[[], None], what: str, *paths: Path) -> None:
    names = " and ".join(map(str, paths))
    try:
        load()
    except ssl.SSLError as exc:
        raise SettingsError(
            f"{names} can't be used as {what}: {exc.reason or exc}; they must be PEM files that fit together"
        ) from exc
    except OSError as exc:
        raise SettingsError(f"can't read {names}: {exc.strerror}; check that they are there, and who owns them") from exc


def names_of(certificate: object) -> list[str]:
    """Return the names that a client's certificate, as `ssl.SSLSocket.getpeercert` returns it, says its owner has.

    The common name of its subject comes first, and then what is in its subjectAltName.
    """
    names: list[str] = []
    if isinstance(certificate, dict):
        for part in certificate.get("subject", ()):
            names += [value for key, value in part if key == "commonName"]
        names += [value for _, value in certificate.get("subjectAltName", ())]
    return names


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
