"""Everything that can be set, with its bounds: one attribute is one option of ``trio-spool serve``."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

import attrs

from .._core import SpoolLimits
from ..engine import ENGINES
from ..mcbp import MAX_FRAME, MAX_VALUE
from ._checks import SettingsError, addresses, one_of, path_or_none, seconds, size, to_path, to_tuple, whether, whole
from ._jobs import MOST_JOBS

KIB = 1024
MIB = 1024 * KIB

# LMDB has a slot for each in a file that it maps.
MOST_SCANS = 1 << 20
# A thread that keeps the interpreter for longer stops the service.
LONGEST_SWITCH = 60.0

FSYNC_POLICIES = ("always", "everysec", "no")


@attrs.frozen
class TcpAddress:
    """A TCP host and port to listen on; port 0 lets the system choose."""

    host: str
    port: int
    tls: bool = False

    @property
    def scheme(self) -> str:
        """How the address begins."""
        return "tls" if self.tls else "tcp"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@attrs.frozen
class UnixAddress:
    """The path of a Unix domain socket to listen on."""

    path: str

    @property
    def loopback(self) -> bool:
        """Return True: only this machine can connect to it."""
        return True


_TCP = re.compile(r"(?P<scheme>tcp|tls)://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?")


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Parse ``tcp://HOST:PORT``, ``tls://HOST:PORT`` or ``unix:PATH``.

    Raises:
        SettingsError: It is neither.
    """
    if text.startswith("unix:") and len(text) > len("unix:") and "\0" not in text:
        return UnixAddress(text.removeprefix("unix:"))
    match = _TCP.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise SettingsError(f"can't listen on {text!r}: an address is tcp://HOST:PORT, tls://HOST:PORT or unix:PATH")
    return TcpAddress(match["v6"] or match["host"], int(match["port"]), match["scheme"] == "tls")


@attrs.frozen(kw_only=True)
class Settings:
    """What a service is run with. Sizes are in bytes, times in seconds.

    A path may also be a str or any `os.PathLike`, and what to listen on one str. Where nothing need ever end (`login_timeout`,
    `send_timeout`, `drain_timeout`), the time may be infinite.

    Attributes:
        listen: The addresses to listen on.
        data_dir: Where the engine ``lmdb`` keeps its data.
        engine: ``lmdb``, or ``memory``, which keeps nothing.
        fsync: When commits are forced to the disk: ``always``, ``everysec``, ``no``.
        no_auth: Whether to listen, without authentication, where other machines can connect.
        users: The file of those who may log in; without one, anybody may do anything.
        login_timeout: A client that has not logged in after this long is disconnected.
        tls_cert: The file of the certificate for ``tls://`` addresses, with those that lead up to its authority.
        tls_key: The file of its private key.
        tls_client_ca: The file of the authorities whose certificates clients may show; the names in those are names of users.
        tls_client_required: Whether clients must show one, at ``tls://`` addresses; it takes one of those, and `tls_client_ca`.
        vbuckets: Of each bucket.
        max_buckets: That there may be; each has a store, and a thread, of its own.
        disable_flush: Whether FLUSH is refused.
        max_item_size: The largest value.
        max_connections: Connections above this are closed as they come.
        max_scans: Range scans that may be open at once; each keeps the database from reusing what was deleted since it began.
        max_scans_per_connection: Of one connection.
        max_scan_life: How long one may be open.
        max_snapshots: Snapshots of the database's files that may be kept at once; each is a copy of it.
        snapshot_idle: How long one is kept that nobody asks for a piece of.
        window: What a spool may hold of what a client has not taken, and what may be queued for a connection.
        batch: What is sent in one write.
        look_ahead: What is read of further requests while an answer is being streamed.
        workers: Threads that produce streamed answers.
        send_timeout: A client that accepts no byte for this long is disconnected.
        drain_timeout: How long running answers may take to finish when the service stops.
        switch_interval: How long a thread may keep the interpreter when another wants it; 0 leaves it as it is.
    """

    listen: tuple[str, ...] = attrs.field(default=("tcp://127.0.0.1:11210",), converter=to_tuple, validator=addresses)
    data_dir: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    engine: str = attrs.field(default="lmdb", validator=one_of(*ENGINES))
    fsync: str = attrs.field(default="always", validator=one_of(*FSYNC_POLICIES))
    no_auth: bool = attrs.field(default=False, validator=whether)
    users: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    login_timeout: float = attrs.field(default=30.0, validator=seconds(0.001, or_never=True))
    tls_cert: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_key: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_ca: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_required: bool = attrs.field(default=False, validator=whether)
    vbuckets: int = attrs.field(default=1, validator=whole(1, 1024))
    max_buckets: int = attrs.field(default=32, validator=whole(1))
    disable_flush: bool = attrs.field(default=False, validator=whether)
    max_item_size: int = attrs.field(default=MAX_VALUE, validator=size())
    max_connections: int = attrs.field(default=4096, validator=whole(1))
    max_scans: int = attrs.field(default=64, validator=whole(1, MOST_SCANS))
    max_scans_per_connection: int = attrs.field(default=16, validator=whole(1))
    max_scan_life: float = attrs.field(default=180.0, validator=seconds(0.001))
    max_snapshots: int = attrs.field(default=4, validator=whole(1))
    snapshot_idle: float = attrs.field(default=300.0, validator=seconds(0.001))
    window: int = attrs.field(default=512 * KIB, validator=size())
    batch: int = attrs.field(default=128 * KIB, validator=size())
    look_ahead: int = attrs.field(default=64 * KIB, validator=size())
    workers: int = attrs.field(default=8, validator=whole(1))
    send_timeout: float = attrs.field(default=30.0, validator=seconds(0.001, or_never=True))
    drain_timeout: float = attrs.field(default=10.0, validator=seconds(0, or_never=True))
    switch_interval: float = attrs.field(default=0.0, validator=seconds(0, LONGEST_SWITCH))

    def __attrs_post_init__(self) -> None:
        for text in self.listen:
            address = parse_address(text)
            if not address.loopback and self.users is None and not self.no_auth:
                raise SettingsError(
                    f"{text} can be reached from other machines, and no authentication is set up; name a file with --users, "
                    "listen on 127.0.0.1, or say --no-auth if everyone who can connect may read and write"
                )
            if isinstance(address, TcpAddress) and address.tls and (self.tls_cert is None or self.tls_key is None):
                raise SettingsError(f"{text} needs a certificate and its key: give --tls-cert and --tls-key")
        self._check_once()
        if self.tls_client_required:
            self._check_client_certificates()
        if self.max_item_size > MAX_FRAME - KIB:
            raise SettingsError(f"max-item-size must leave room in a frame of {MAX_FRAME} bytes; got {self.max_item_size}")

    def _check_once(self) -> None:
        """Refuse an address that is given twice. Of port 0 there may be several: each is another port."""
        seen: dict[object, str] = {}
        for text in self.listen:
            address = parse_address(text)
            if isinstance(address, UnixAddress):
                place: object = os.path.abspath(address.path)
            elif address.port:
                place = (address.host.lower(), address.port)
            else:
                continue
            if place in seen:
                same = text if seen[place] == text else f"{text}, which is {seen[place]},"
                raise SettingsError(f"can't listen on {same} twice: leave one out")
            seen[place] = text

    def _check_client_certificates(self) -> None:
        if self.tls_client_ca is None:
            raise SettingsError(
                "clients are required to show a certificate, and no authority is named that would have signed it; "
                "name the file of its certificate with --tls-client-ca, or leave --tls-client-required out"
            )
        if not any(isinstance(address, TcpAddress) and address.tls for address in map(parse_address, self.listen)):
            raise SettingsError(
                f"clients are required to show a certificate, and {', '.join(self.listen)} can't ask for one; "
                "listen on tls://HOST:PORT, or leave --tls-client-required out"
            )

    @property
    def limits(self) -> SpoolLimits:
        """The limits of each connection's sender and spools."""
        return SpoolLimits(window=self.window, batch=min(self.batch, self.window))

    @property
    def connection_bytes(self) -> int:
        """The most bytes that one connection's buffers hold.

        What is queued (a window, and the reply that crossed it); what long commands spool (a window between them, and for each
        what crossed its part, and a batch in hand); what is being parsed (one frame, and one read), what is looked ahead, and
        one reply.
        """
        item = self.max_item_size + KIB
        return 2 * self.window + (1 + 2 * MOST_JOBS) * max(self.batch, item) + 2 * item + 2 * self.look_ahead
