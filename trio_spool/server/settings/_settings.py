"""Everything that can be set, with its bounds: one attribute is one option of ``trio-spool serve``."""

from __future__ import annotations

from pathlib import Path

import attrs

from ..._core import SpoolLimits
from ...engine import EngineKind
from ._addresses import Address, check_distinct, parse_address
from ._advertised import advertised_ports
from ._checks import addresses, engine, one_of, path_or_none, permissions, seconds, size, texts, to_path, to_tuple, whether, whole
from ._errors import SettingsError
from ._limits import DEFAULT_MAX_ITEM_SIZE, KIB, MAX_ITEM_SIZE, MAX_JOBS, MAX_SCANS, MAX_SWITCH_INTERVAL

FSYNC_POLICIES = ("always", "everysec", "no")


@attrs.frozen(kw_only=True)
class Settings:
    """What a service is run with. Sizes are in bytes, times in seconds.

    A path may also be a str or any `os.PathLike`, and `listen` may be one str. Where waiting may have no limit (`login_timeout`,
    `send_timeout`, `drain_timeout`), the time may be infinite.

    Attributes:
        listen: The addresses to listen on.
        advertise: For listeners behind a port mapping, pairs ``OUTSIDE:INSIDE`` of ports: clients that come in by the listener
            with the port INSIDE are told that the service has the port OUTSIDE. INSIDE may also be an address of `listen`.
        data_dir: Where the engine ``lmdb`` keeps its data.
        engine: ``lmdb``, or ``memory``, which keeps nothing, or an engine of your own.
        allow_network_storage: Allow a data directory on a network file system, whose locks and mapped files can't be relied on.
        fsync: When commits are forced to the disk: ``always``, ``everysec``, ``no``.
        no_auth: Allow addresses that other machines can reach although no authentication is set up.
        users: The file of the users who may log in. Without one, anybody may do anything.
        login_timeout: How long a client may take to log in before it is disconnected.
        tls_cert: The PEM file of the certificate for ``tls://`` addresses, followed by its intermediate certificates.
        tls_key: The PEM file of the certificate's private key.
        tls_client_ca: The PEM file of the authorities that sign clients' certificates. The names in those are user names.
        tls_client_required: Refuse clients of ``tls://`` addresses that show no certificate signed by `tls_client_ca`.
        unix_mode: The permission bits of a Unix domain socket. The default, 0o700, lets only the user of the service connect.
        vbuckets: The number of vbuckets of each bucket.
        max_buckets: The maximum number of buckets. Each has its own store and writer thread.
        disable_flush: Refuse FLUSH.
        max_item_size: The largest value.
        max_connections: The maximum number of connections. Further ones are closed as they come.
        max_scans: The maximum number of open range scans. Each keeps the database from reusing space that was freed since it began.
        max_scans_per_connection: The maximum number of open range scans of one connection.
        max_scan_life: How long a range scan may stay open.
        max_held_size: How much of deleted and overwritten items open range scans may keep in each bucket's file, or as much as the
            items need, if that is more. When the file grows beyond that, the oldest scan is ended.
        max_snapshots: The maximum number of snapshots of the database's files. Each is a copy of the database.
        snapshot_idle: How long a snapshot is kept that nobody reads.
        window: The most bytes that a spool holds for a client, and that are queued for a connection.
        batch: The most bytes of one write.
        look_ahead: The most bytes that are read of further requests while an answer is streamed.
        workers: The number of threads that produce streamed answers.
        send_timeout: How long a client may take no data; it is disconnected within twice that time. What its program reads is seen
            only in steps of up to its receive buffer, some 130 kB on Linux. So a client that reads less than that in this time may
            be disconnected, however steadily it reads.
        drain_timeout: How long running answers may take to finish when the service stops.
        switch_interval: How long a thread may keep the interpreter while another wants it; 0 keeps Python's own setting.
    """

    listen: tuple[str, ...] = attrs.field(default=("tcp://127.0.0.1:11210",), converter=to_tuple, validator=addresses)
    advertise: tuple[str, ...] = attrs.field(default=(), converter=to_tuple, validator=texts)
    data_dir: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    engine: str | EngineKind = attrs.field(default="lmdb", validator=engine)
    allow_network_storage: bool = attrs.field(default=False, validator=whether)
    fsync: str = attrs.field(default="always", validator=one_of(*FSYNC_POLICIES))
    no_auth: bool = attrs.field(default=False, validator=whether)
    users: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    login_timeout: float = attrs.field(default=30.0, validator=seconds(0.001, or_never=True))
    tls_cert: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_key: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_ca: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_required: bool = attrs.field(default=False, validator=whether)
    unix_mode: int = attrs.field(default=0o700, validator=permissions)
    vbuckets: int = attrs.field(default=1, validator=whole(1, 1024))
    max_buckets: int = attrs.field(default=32, validator=whole(1))
    disable_flush: bool = attrs.field(default=False, validator=whether)
    max_item_size: int = attrs.field(default=DEFAULT_MAX_ITEM_SIZE, validator=size())
    max_connections: int = attrs.field(default=4096, validator=whole(1))
    max_scans: int = attrs.field(default=64, validator=whole(1, MAX_SCANS))
    max_scans_per_connection: int = attrs.field(default=16, validator=whole(1))
    max_scan_life: float = attrs.field(default=180.0, validator=seconds(0.001))
    max_held_size: int = attrs.field(default=256 * KIB * KIB, validator=size())  # picked, not measured
    max_snapshots: int = attrs.field(default=4, validator=whole(1))
    snapshot_idle: float = attrs.field(default=300.0, validator=seconds(0.001))
    # With these, a client that stops reading costs the process 613 KiB (the names of all keys) or 602 KiB (a scan), measured like
    # ``nox -s bench -- memory``: a window, the batch that is being written, and what the allocator can't use.
    window: int = attrs.field(default=320 * KIB, validator=size())
    batch: int = attrs.field(default=96 * KIB, validator=size())
    look_ahead: int = attrs.field(default=64 * KIB, validator=size())
    workers: int = attrs.field(default=8, validator=whole(1))
    send_timeout: float = attrs.field(default=30.0, validator=seconds(0.001, or_never=True))
    drain_timeout: float = attrs.field(default=10.0, validator=seconds(0, or_never=True))
    switch_interval: float = attrs.field(default=0.0, validator=seconds(0, MAX_SWITCH_INTERVAL))

    def __attrs_post_init__(self) -> None:
        parsed = self.addresses
        for text, address in zip(self.listen, parsed, strict=True):
            if not address.is_loopback and self.users is None and not self.no_auth:
                raise SettingsError(
                    f"{text} can be reached from other machines, and no authentication is set up; name a file with --users, "
                    "listen on 127.0.0.1, or say --no-auth if everyone who can connect may read and write"
                )
            if address.tls and (self.tls_cert is None or self.tls_key is None):
                raise SettingsError(f"{text} needs a certificate and its key: give --tls-cert and --tls-key")
        check_distinct(self.listen, parsed)
        advertised_ports(self.advertise, self.listen, parsed)
        if self.tls_client_required:
            self._check_client_certificates(parsed)
        if self.max_item_size > MAX_ITEM_SIZE:
            raise SettingsError(f"max-item-size must be at most {MAX_ITEM_SIZE}, which fits in a frame; got {self.max_item_size}")

    def _check_client_certificates(self, parsed: tuple[Address, ...]) -> None:
        if self.tls_client_ca is None:
            raise SettingsError(
                "--tls-client-required needs the authority that signs clients' certificates; "
                "name the file of its certificate with --tls-client-ca, or leave --tls-client-required out"
            )
        if not any(address.tls for address in parsed):
            raise SettingsError(
                f"--tls-client-required needs an address with TLS, and {', '.join(self.listen)} has none; "
                "listen on tls://HOST:PORT, or leave --tls-client-required out"
            )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses to listen on, parsed."""
        return tuple(map(parse_address, self.listen))

    @property
    def advertised(self) -> tuple[int, ...]:
        """For each address, the port that its clients are told; 0 for the port that it listens on."""
        return advertised_ports(self.advertise, self.listen, self.addresses)

    @property
    def limits(self) -> SpoolLimits:
        """The limits of each connection's sender and spools."""
        return SpoolLimits(window=self.window, batch=min(self.batch, self.window))

    @property
    def connection_bytes(self) -> int:
        """The most bytes that one connection's buffers hold.

        The sum of the send queue (a window, and the reply that crossed it), the spools of long commands (a window between them, and
        for each the fragment that crossed its part and a batch in hand), the frame and the read that are being parsed, the
        look-ahead, and one reply.
        """
        item = self.max_item_size + KIB
        return 2 * self.window + (1 + 2 * MAX_JOBS) * max(self.batch, item) + 2 * item + 2 * self.look_ahead
