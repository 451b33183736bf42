"""Listeners: TCP, TLS and Unix domain sockets."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn

import attrs
import trio

from .._files import explain
from .._formats import host_and_port
from .._incidents import Incidents
from .settings import BACKLOG, Address, ServiceError, Settings, SettingsError, TcpAddress, UnixAddress
from .shared import Listener

# Seconds between two tries to accept a connection while the system has no descriptor or memory for one, as in Trio and hypercorn.
_RETRY: Final = 0.1
CANNOT_ACCEPT: Final = "connections can't be accepted"


class ListenError(ServiceError):
    """The service can't listen on an address. The message says which, and why."""


@attrs.frozen
class BoundListener:
    """A listener that is bound to its address.

    Attributes:
        address: The address, with the port that the system chose.
        socket: Accepts connections.
        listener: The listener as its clients see it.
        tls: Encrypts the connections; None for none.
        inherited: Whether somebody else has made it, who keeps it, and its file, when the service ends.
    """

    address: Address
    socket: trio.SocketListener
    listener: Listener
    tls: ssl.SSLContext | None = None
    inherited: bool = False

    async def accept(
        self, handle: Callable[[trio.SocketStream], Awaitable[object]], nursery: trio.Nursery, incidents: Incidents
    ) -> NoReturn:
        """Accept connections for ever, each in a task of its own, which closes the stream when `handle` has ended.

        While the system lacks descriptors or memory for another one, clients wait, and the log says so once.
        """
        async with self.socket:
            while True:
                try:
                    stream = await self.socket.accept()
                except OSError as exc:
                    incidents.report(
                        CANNOT_ACCEPT, lasts=True, level="error", address=str(self.address), reason=explain(exc),
                        hint="clients wait; if there are too few descriptors, raise ulimit -n or lower --max-connections",
                    )  # fmt: skip
                    await trio.sleep(_RETRY)
                else:
                    incidents.passed(CANNOT_ACCEPT)
                    nursery.start_soon(_handle, handle, stream)

    def close(self) -> None:
        """Stop listening, and remove the file of a Unix domain socket, unless it is inherited."""
        self.socket.socket.close()
        if isinstance(self.address, UnixAddress) and not self.inherited:
            try:
                os.unlink(self.address.path)
            except OSError:
                pass


async def _handle(handle: Callable[[trio.SocketStream], Awaitable[object]], stream: trio.SocketStream) -> None:
    try:
        await handle(stream)
    finally:
        await trio.aclose_forcefully(stream)


def peer_name(stream: trio.SocketStream) -> str:
    """Return the address of a client, for the log and the statistics."""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "gone"
    return host_and_port(*name[:2]) if isinstance(name, tuple) else "unix"


async def listen(address: Address, settings: Settings, *, login: bool, advertised: int = 0) -> list[BoundListener]:
    """Listen on an address. A host name may stand for several.

    Args:
        address: The address.
        settings: How to listen there.
        login: Whether clients must log in.
        advertised: The port that clients are told; 0 for the port that is listened on.

    Raises:
        ListenError: The system refuses.
        SettingsError: The certificates can't be used.
    """
    try:
        if isinstance(address, UnixAddress):
            return [BoundListener(address, _listen_unix(address.path, settings.unix_mode), _seen(address, login, advertised))]
        context = tls_context(settings) if address.tls else None
        listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as exc:
        raise ListenError(f"can't listen on {address}: {_reason(exc, address, settings)}") from exc
    opened = []
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        bound = TcpAddress(host, port, address.tls)
        opened.append(BoundListener(bound, listener, _seen(bound, login, advertised), context))
    return opened


def adopt(inherited: socket.socket, address: Address, settings: Settings, *, login: bool, advertised: int = 0) -> BoundListener:
    """Listen by a socket that somebody else has made, who keeps it: this process gets a descriptor of its own.

    Args:
        inherited: The socket. It listens.
        address: Where it listens.
        settings: How.
        login: As for `listen`.
        advertised: As for `listen`.

    Raises:
        SettingsError: The certificates can't be used.
    """
    context = tls_context(settings) if address.tls else None
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(inherited.dup()))
    return BoundListener(address, listener, _seen(address, login, advertised), context, inherited=True)


def _seen(address: Address, login: bool, advertised: int) -> Listener:
    if isinstance(address, UnixAddress):
        return Listener(login=login)
    return Listener(advertised or address.port, address.tls, login, mapped=bool(advertised))


def _reason(error: OSError, address: Address, settings: Settings) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name can't be resolved; check its spelling, or give a numeric address"
    if error.errno != errno.EADDRINUSE:
        return explain(error)
    if isinstance(address, UnixAddress):
        return _what_is_there(address.path)
    others = [
        str(other)
        for other in settings.addresses
        if isinstance(other, TcpAddress) and other != address and other.port == address.port
    ]
    if others:
        return f"it is in use by {' or '.join(others)}, or by another program; leave one out, or choose another port"
    return "it is in use by another program; stop that, or choose another port (0 lets the system choose)"


def _what_is_there(path: str) -> str:
    """Return why a socket can't be made at a path that is taken."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        mode = 0  # it has gone in the meantime
    if stat.S_ISDIR(mode):
        return "the path is a directory; name a path in it, or another one"
    if mode and not stat.S_ISSOCK(mode):
        return "the path is a file that is not a socket; move it away, or choose another path"
    return "it is in use by another program; stop that, or choose another path"


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the context that encrypts connections: TLS 1.2 and up, with the certificate that the settings name.

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
        _load(lambda: context.load_verify_locations(authority), "certificates of authorities", authority)
        context.verify_mode = ssl.CERT_REQUIRED if settings.tls_client_required else ssl.CERT_OPTIONAL
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    encrypted = False

    def passphrase() -> str:
        """Called if the key is encrypted. Without it, OpenSSL would ask for the passphrase at the terminal, and wait."""
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
            f"{names} can't be used as {what}: {exc.reason or exc}; they must be PEM files that belong together"
        ) from exc
    except OSError as exc:
        raise SettingsError(f"can't read {names}: {explain(exc)}; check that the files exist and may be read") from exc


def names_of(certificate: object) -> list[str]:
    """Return the names in a client's certificate, given as `ssl.SSLSocket.getpeercert` returns it.

    The common name of the subject comes first, and then the names in subjectAltName.
    """
    names: list[str] = []
    if isinstance(certificate, dict):
        for part in certificate.get("subject", ()):
            names += [value for key, value in part if key == "commonName"]
        names += [value for _, value in certificate.get("subjectAltName", ())]
    return names


def _listen_unix(path: str, mode: int) -> trio.SocketListener:
    _remove_stale_socket(path)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.bind(path)
        # Before `listen`, so that nobody can connect whom the mode keeps out, whatever the umask of the process is.
        os.chmod(path, mode)
        raw.listen(BACKLOG)
        raw.setblocking(False)
    except BaseException:
        raw.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


def _remove_stale_socket(path: str) -> None:
    """Remove the socket of a service that has ended. Anything else is left alone, and binding fails."""
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
