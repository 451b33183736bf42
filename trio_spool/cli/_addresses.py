"""Where a server is: what SERVER may be on the command line and in an environment variable."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NoReturn
from urllib.parse import unquote

import attrs
import click

from .._formats import host_and_port

VARIABLE: Final = "TRIO_SPOOL_SERVER"
DEFAULT_PORT: Final = 11210
# What each scheme means: the port if none is given, which is that of Couchbase or memcached, and whether it is encrypted.
_SCHEMES: Final = {
    "tcp": (DEFAULT_PORT, False), "tls": (11207, True), "couchbase": (DEFAULT_PORT, False), "couchbases": (11207, True),
    "memcached": (11211, False),
}  # fmt: skip
_URL: Final = re.compile(r"(?P<scheme>[a-z]+)://(?P<rest>.*)", re.DOTALL)
_REST: Final = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<place>[^/?@]*)(?P<path>/[^?]*)?(?P<query>\?.*)?", re.DOTALL)
_PLACE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[^\s:\[\],/@?#%]+))(?::(?P<port>\d{1,5}))?", re.ASCII
)
_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
FORMS: Final = "HOST[:PORT], tcp://, tls://, couchbase://, couchbases:// or memcached:// before it, or unix:PATH"


@attrs.frozen
class Address:
    """Where a server listens.

    Attributes:
        host: Its host name, or its IP address without brackets; or ``unix:PATH``.
        port: Its TCP port; 0 for a Unix domain socket.
        tls: Whether to encrypt the connection.
        username: The user that the address names.
        bucket: The bucket that the address names.
        classic: Whether it is memcached, which has no extensions: a request that it does not know may make it fall silent.
        default_port: Whether the address says no port.
        word: The address as it was given, if it may have been meant as something else; else empty.
    """

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    username: str | None = None
    bucket: str | None = None
    classic: bool = False
    default_port: bool = attrs.field(default=False, eq=False)
    word: str = attrs.field(default="", eq=False)

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix domain socket."""
        return self.host.startswith("unix:")

    def encrypted(self) -> Address:
        """Return the address, with TLS."""
        return attrs.evolve(self, tls=True, port=_SCHEMES["tls"][0] if self.default_port else self.port)

    def __str__(self) -> str:
        return self.host if self.is_unix else host_and_port(self.host, self.port)


class ServerAddress(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The address of a server."""

    name = "SERVER"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Parse an address."""
        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def parse_address(text: str) -> Address:
    """Parse an address.

    Raises:
        ValueError: It is none. The message says why, and never has a password.
    """
    if text.startswith("unix:") and "\0" not in text and text.removeprefix("unix:").strip("/"):
        path = text.removeprefix("unix:")
        return Address("unix:" + re.sub("^//+", "/", path), 0)
    if (url := _URL.fullmatch(text)) is not None:
        return _parse_url(url["scheme"], url["rest"], text)
    if _is_ipv6(text):
        return Address(text, default_port=True)
    found = _parse_place(text, text, DEFAULT_PORT)
    return found if text.startswith("[") or found.host.replace(".", "").isdecimal() else attrs.evolve(found, word=text)


def _parse_url(scheme: str, rest: str, text: str) -> Address:
    if scheme not in _SCHEMES:
        raise ValueError(f"{scheme}:// can't be used; a server is {FORMS}")
    default, tls = _SCHEMES[scheme]
    match = _REST.fullmatch(rest)
    if match is None:
        _refuse(text)
    user, path, query = match["user"], (match["path"] or "").strip("/"), match["query"]
    if user is not None and ":" in user:
        raise ValueError(
            "a password in SERVER can be seen by other users of this machine, in its list of processes; leave it out, and set "
            "TRIO_SPOOL_PASSWORD, or use --password-stdin"
        )
    if not scheme.startswith("couchbase") and (user is not None or path or query):
        raise ValueError(
            f"{text!r:.200}: only couchbase:// and couchbases:// take a user and a bucket; use --username and --bucket"
        )
    if query:
        raise ValueError(f"{text!r:.200}: what stands behind ? is for SDKs; leave it out, and use this command's own options")
    if "," in match["place"]:
        raise ValueError(f"{text!r:.200} names several servers; name one")
    return attrs.evolve(
        _parse_place(match["place"], text, default), tls=tls, classic=scheme == "memcached",
        username=unquote(user) if user else None, bucket=unquote(path) if path else None,
    )  # fmt: skip


def _parse_place(place: str, text: str, default: int) -> Address:
    match = _PLACE.fullmatch(place)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        _refuse(text)
    if match["port"] is not None and not 0 < int(match["port"]) < 65536:
        raise ValueError(f"{text!r:.200} has the port {match['port']}; a port is from 1 to 65535")
    port = default if match["port"] is None else int(match["port"])
    return Address(match["v6"] or match["host"], port, default_port=match["port"] is None)


def _refuse(text: str) -> NoReturn:
    shown = "it" if "@" in text else f"{text!r:.200}"
    raise ValueError(f"{shown} is not the address of a server, which is {FORMS}; an example is 127.0.0.1:{DEFAULT_PORT}")


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def looks_like_address(word: str, *, certainly: bool) -> bool:
    """Whether a word that may be something else is taken for an address: it has a scheme or a port.

    Args:
        word: The word.
        certainly: Whether a name without a dot before the port is not enough, as in ``user:17``.
    """
    if word.startswith("unix:") or ((url := _URL.fullmatch(word)) is not None and url["scheme"] in _SCHEMES):
        return True
    match = _HOST_AND_PORT.fullmatch(word)
    if match is None or not 0 < int(match["port"]) < 65536:
        return False
    host = match["host"]
    return not certainly or host == "localhost" or host.startswith("[") or "." in host.strip(".")
