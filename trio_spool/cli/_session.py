"""How a command reaches a server, and as whom: the options that all commands with HOST:PORT share."""

from __future__ import annotations

import functools
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypedDict

import attrs
import click

from .._files import explain
from ..client import Client, open_client
from ._passwords import ask_password, check_stdin, read_password

PASSWORD_VARIABLE = "TRIO_SPOOL_PASSWORD"

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@attrs.frozen
class Address:
    """Where a server listens."""

    host: str
    port: int
    tls: bool = False


class HostPort(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``HOST:PORT``, or ``[ADDRESS]:PORT`` for IPv6; also as ``trio-spool serve`` prints it."""

    name = "HOST:PORT"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Split it."""
        if isinstance(value, Address):
            return value
        host, separator, port = value.removeprefix("tcp://").removeprefix("tls://").rpartition(":")
        if not separator or not host or not port.isdecimal() or not port.isascii() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT, as in 127.0.0.1:11210", param, ctx)
        return Address(host.strip("[]"), int(port), value.startswith("tls://"))


class Name(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """What can be a name on the wire; the server says whether it can be the name of this or that."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it."""
        if not 0 < len(os.fsencode(value)) <= 250 or not value.isprintable():
            self.fail(f"{value!r:.80} is empty, too long, or not printable", param, ctx)
        return value


class Keywords(TypedDict):
    """What `open_client` and `backup_server` want to know."""

    username: str | None
    password: str | None
    bucket: str | None
    tls: ssl.SSLContext | None


@attrs.define
class Server:
    """A server, and how to get in: what `session_options` makes of its options.

    Attributes:
        address: Where it is.
        username: Who we are.
        bucket: What to work on.
    """

    address: Address
    username: str | None
    bucket: str | None
    _from_stdin: bool
    _ca: Path | None
    _certificate: Path | None
    _key: Path | None
    _keywords: Keywords | None = attrs.field(default=None, repr=False)  # has the password

    @property
    def host(self) -> str:
        """The host's name, or its address."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port."""
        return self.address.port

    @property
    def anonymous(self) -> bool:
        """Whether we do not say who we are."""
        return self.username is None and self._certificate is None

    def keep_stdin(self) -> None:
        """Refuse to take the password from standard input, since the command itself reads that, which must be open."""
        if self._from_stdin:
            raise click.UsageError(
                f"--password-stdin can't be used when the data come from standard input: set {PASSWORD_VARIABLE}, or read a file"
            )
        check_stdin()

    def keywords(self) -> Keywords:
        """Find out what is still missing, once; it may be asked for."""
        if self._keywords is None:
            self._keywords = Keywords(
                username=self.username, password=self._password(), bucket=self.bucket,
                tls=_tls_context(self._ca, self._certificate, self._key) if self.address.tls else None,
            )  # fmt: skip
        return self._keywords

    def open(self) -> AbstractAsyncContextManager[Client]:
        """Return what connects."""
        return open_client(self.host, self.port, **self.keywords())

    def _password(self) -> str | None:
        if self.username is None:
            return None
        if self._from_stdin:
            return read_password()
        password = os.environ.get(PASSWORD_VARIABLE)
        if password is not None:
            return password
        if sys.stdin is not None and sys.stdin.isatty():
            return ask_password(confirm=False)
        raise click.ClickException(f"no password for {self.username!r}: give --password-stdin, or set {PASSWORD_VARIABLE}")


def _tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    path = ca
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            path = certificate
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as exc:
        reason = (exc.reason or str(exc)).replace("_", " ").lower()
        raise click.ClickException(
            f"{path} can't be used: {reason}; it must be a PEM file, and a certificate needs its key"
        ) from None
    except OSError as exc:
        raise click.ClickException(f"can't read {path}: {explain(exc)}") from None
    return context


def session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; its parameter `server`, an `Address`, becomes a `Server`."""

    @click.option(
        "--username", "-u", envvar="TRIO_SPOOL_USERNAME", show_envvar=True,
        help=f"Log in as this user. The password is taken from {PASSWORD_VARIABLE}, or asked for.",
    )  # fmt: skip
    @click.option("--password-stdin", "from_stdin", is_flag=True, help="Take the first line of standard input as the password.")
    @click.option("--bucket", "-b", type=Name(), help="Work on this bucket, instead of the default one.")
    @click.option("--tls", is_flag=True, help="Encrypt the connection; the server must have a certificate for HOST.")
    @click.option("--ca", type=_FILE, help="Whose certificates are trusted, instead of those this system trusts: a PEM file.")
    @click.option("--client-cert", "certificate", type=_FILE, help="Show this certificate, which may be a login: a PEM file.")
    @click.option("--client-key", "key_file", type=_FILE, help="The certificate's private key, if it is not in the same file.")
    @functools.wraps(function)
    def command(
        server: Address,
        username: str | None,
        from_stdin: bool,
        bucket: str | None,
        tls: bool,
        ca: Path | None,
        certificate: Path | None,
        key_file: Path | None,
        **values: Any,
    ) -> Any:
        address = attrs.evolve(server, tls=server.tls or tls)
        if from_stdin and username is None:
            raise click.UsageError("--password-stdin needs --username")
        if not address.tls and (ca or certificate or key_file):
            raise click.UsageError("--ca, --client-cert and --client-key need --tls")
        if key_file is not None and certificate is None:
            raise click.UsageError("--client-key needs --client-cert")
        return function(Server(address, username, bucket, from_stdin, ca, certificate, key_file), **values)

    return command
