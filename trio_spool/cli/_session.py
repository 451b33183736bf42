"""How a command connects and logs in: the options that all commands with a SERVER share."""

from __future__ import annotations

import functools
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypedDict

import attrs
import click
import trio
from click.core import ParameterSource

from .._files import explain
from ..client import ANSWER_TIMEOUT, Client, open_client
from ._addresses import VARIABLE, Address
from ._errors import LoginError
from ._passwords import ask_password, check_stdin, read_password
from ._quantities import Duration, format_duration
from ._server_command import OPTION, WORD

PASSWORD_VARIABLE: Final = "TRIO_SPOOL_PASSWORD"

# The commands that do with memcached what they do elsewhere, and the groups that have others of the same name.
_MEMCACHED: Final = ("get", "set", "delete", "incr", "decr", "touch", "flush", "load", "stat", "ping")
_GROUPS: Final = ("bucket", "collection")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Name(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A name that can be sent to a server, which decides whether a bucket or a collection can have it."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a name."""
        if not 0 < len(os.fsencode(value)) <= 250 or not value.isprintable():
            self.fail(f"{value!r:.80} is empty, longer than 250 bytes, or not printable", param, ctx)
        return value


class Keywords(TypedDict):
    """The keyword arguments that `open_client` and `backup_server` share."""

    username: str | None
    password: str | None
    bucket: str | None
    tls: ssl.SSLContext | None
    answer_timeout: float


@attrs.define
class Server:
    """A server and how to log in to it: what `session_options` makes of its options.

    Attributes:
        address: Where the server listens.
        username: The user to log in as; None for none.
        bucket: The bucket to work on; None for the default one.
        answer_timeout: How long the server may take to answer a single request, and be silent within a longer answer, in seconds.
        origin: Where the address comes from, for an error, if it may be that it was not meant; else empty.
    """

    address: Address
    username: str | None
    bucket: str | None
    _from_stdin: bool
    _ca: Path | None
    _certificate: Path | None
    _key: Path | None
    answer_timeout: float
    origin: str = ""
    _keywords: Keywords | None = attrs.field(default=None, repr=False)  # has the password

    @property
    def host(self) -> str:
        """The server's host name or IP address."""
        return self.address.host

    @property
    def port(self) -> int:
        """The server's TCP port."""
        return self.address.port

    @property
    def anonymous(self) -> bool:
        """Whether the command shows neither a user name nor a certificate."""
        return self.username is None and self._certificate is None

    def keep_stdin(self) -> None:
        """Reserve standard input, which must be open, for the command's data: the password can't come from there."""
        if self._from_stdin:
            raise click.UsageError(
                f"--password-stdin can't be used when the data come from standard input; set {PASSWORD_VARIABLE}, or read a file"
            )
        check_stdin()

    def keywords(self) -> Keywords:
        """Return the arguments for connecting. The first call may ask for the password at the terminal."""
        if self._keywords is None:
            self._keywords = Keywords(
                username=self.username, password=self._password(), bucket=self.bucket,
                tls=_tls_context(self._ca, self._certificate, self._key) if self.address.tls else None,
                answer_timeout=self.answer_timeout,
            )  # fmt: skip
        return self._keywords

    def open(self) -> AbstractAsyncContextManager[Client]:
        """Connect for as long as the block lasts."""
        return open_client(self.host, self.port, **self.keywords())

    def answering(self) -> AbstractContextManager[object]:
        """Raise `trio.TooSlowError` if the block, which waits for an answer, takes too long."""
        return trio.fail_after(self.answer_timeout)

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
        raise LoginError(f"there is no password for {self.username!r}; use --password-stdin, or set {PASSWORD_VARIABLE}")


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
        raise LoginError(
            f"{path} can't be used: {reason}; it must be a PEM file, and a certificate needs its private key"
        ) from None
    except OSError as exc:
        raise LoginError(f"can't read {path}: {explain(exc)}") from None
    return context


def _source(name: str) -> ParameterSource | None:
    return click.get_current_context().get_parameter_source(name)


def _origin(address: Address) -> str:
    """Explain where an address comes from that may not have been meant."""
    if address.word:
        return f"{address.word!r:.80} was taken for the server"
    if _source(WORD) is None and _source(OPTION) is ParameterSource.DEFAULT:
        return f"is a server running? To use another one, give --server, or set {VARIABLE}"
    return ""


def _check_memcached(bucket: str | None, collection: str | None) -> None:
    """Refuse what memcached does not have."""
    context = click.get_current_context()
    if context.info_name not in _MEMCACHED or (context.parent is not None and context.parent.info_name in _GROUPS):
        commands = f"it has {', '.join(_MEMCACHED)}"
        raise click.UsageError(f"memcached has nothing for {context.command_path}; {commands}")
    if bucket is not None or collection is not None:
        raise click.UsageError("memcached has no buckets and no collections; leave --bucket and --collection out")


def session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a session. What `server_argument` found becomes its parameter `server`, a `Server`."""

    @click.option(
        "--username", "-u", envvar="TRIO_SPOOL_USERNAME", show_envvar=True,
        help=f"Log in as this user. The password comes from {PASSWORD_VARIABLE}, or is asked for. By default, do not log in.",
    )  # fmt: skip
    @click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from the first line of standard input.")
    @click.option("--bucket", "-b", type=Name(), help="Use this bucket. By default, use the user's default bucket.")
    @click.option("--tls", is_flag=True, help="Encrypt the connection. The server's certificate must be for HOST.")
    @click.option(
        "--ca", type=_FILE, help="Trust the authorities in this PEM file. By default, trust those that the system trusts."
    )  # fmt: skip
    @click.option(
        "--client-cert", "certificate", type=_FILE,
        help="Show the certificate in this PEM file, which may be a login. By default, show none.",
    )  # fmt: skip
    @click.option(
        "--client-key", "key_file", type=_FILE,
        help="The PEM file with the private key of the certificate. By default, it is in the same file.",
    )  # fmt: skip
    @click.option(
        "--timeout", "answer_timeout", type=Duration(positive=True), default=format_duration(ANSWER_TIMEOUT), show_default=True,
        envvar="TRIO_SPOOL_TIMEOUT", show_envvar=True,
        help="Give up when connecting or an answer takes this long, or the server is silent for this long. inf: never.",
    )  # fmt: skip
    @functools.wraps(function)
    def command(
        server: Address,
        server_word: Address | None = None,
        *,
        username: str | None,
        from_stdin: bool,
        bucket: str | None,
        tls: bool,
        ca: Path | None,
        certificate: Path | None,
        key_file: Path | None,
        answer_timeout: float,
        **values: Any,
    ) -> Any:
        address = server_word or attrs.evolve(server, word="")
        if tls and not address.tls:
            if address.is_unix:
                raise click.UsageError(f"--tls can't be used with {address}: a Unix domain socket is not encrypted")
            address = address.encrypted()
        if address.classic:
            _check_memcached(bucket, values.get("collection"))
        if address.username is not None and _source("username") is not ParameterSource.COMMANDLINE:
            username = address.username
        if from_stdin and username is None:
            raise click.UsageError("--password-stdin needs --username")
        if not address.tls and (ca or certificate or key_file):
            raise click.UsageError("--ca, --client-cert and --client-key need --tls, or a server at tls://")
        if key_file is not None and certificate is None:
            raise click.UsageError("--client-key needs --client-cert")
        session = Server(
            address, username, bucket or address.bucket, from_stdin, ca, certificate, key_file, answer_timeout, _origin(address)
        )  # fmt: skip
        return function(session, **values)

    return command
