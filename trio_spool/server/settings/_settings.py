"""Everything that can be set, with its bounds: one attribute is one option of ``trio-spool serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs

from ..._core import SpoolLimits
from ...engine import EVICTION_POLICIES, EngineKind
from ._addresses import Address, check_distinct, parse_address
from ._advertised import advertised_ports
from ._checks import (
    MAX_BYTES,
    Check,
    addresses,
    bound,
    engine,
    one_of,
    path_or_none,
    permissions,
    rate,
    seconds,
    share,
    size,
    texts,
    to_path,
    to_tuple,
    whether,
    whole,
    words_of,
)
from ._errors import SettingsError
from ._limits import (
    DEFAULT_MAX_ITEM_SIZE,
    EXCHANGE_SIZE,
    GROUP_BYTES,
    HTTP_SERVER_BYTES,
    IDLE_CONNECTION_BYTES,
    KIB,
    MAX_ITEM_SIZE,
    MAX_JOBS,
    MAX_KEEPALIVE,
    MAX_MAX_JOBS,
    MAX_SCANS,
    MAX_SWITCH_INTERVAL,
    PROGRAM_BYTES,
)

PROTOCOLS = ("binary", "text")
FSYNC_POLICIES = ("always", "everysec", "no")
# From the most lines to the fewest.
LOG_LEVELS = ("debug", "info", "warning", "error")


def _live(default: Any, validator: Check) -> Any:
    """Return the field of a setting that can be changed while a service runs."""
    return attrs.field(default=default, validator=validator, metadata={"live": True})


@attrs.frozen(kw_only=True)
class Settings:
    """What a service is run with. Sizes are in bytes, times in seconds.

    A path may also be a str or any `os.PathLike`, and `listen` may be one str. Where waiting may have no limit (`login_timeout`,
    `frame_timeout`, `idle_timeout`, `keepalive`, `send_timeout`, `drain_timeout`), the time may be infinite.

    Some settings can be changed while a service runs: see `LIVE`.

    Attributes:
        listen: The addresses to listen on.
        advertise: For listeners behind a port mapping, pairs ``OUTSIDE:INSIDE`` of ports: clients that come in by the listener
            with the port INSIDE are told that the service has the port OUTSIDE. INSIDE may also be an address of `listen` or
            `management`.
        management: The addresses to listen on for Couchbase's management requests, which are HTTP; none by default. Clients learn
            of them in the configuration.
        protocols: The protocols that are spoken, with commas between them: ``binary``, and ``text``, which has the meta commands as
            well. A client that speaks another one is told so, and disconnected.
        metrics: The addresses to show metrics and health on, by HTTP.
        metrics_public: Whether these may be addresses that other machines can reach. Nobody needs to log in there.
        data_dir: Where the engine ``lmdb`` keeps its data.
        engine: ``lmdb``, or ``memory``, which keeps nothing, or an engine of your own.
        allow_network_storage: Allow a data directory on a network file system, whose locks and mapped files can't be relied on.
        fsync: When commits are forced to the disk: ``always``, ``everysec``, ``no``.
        verify_reads: Verify the checksum of each item that is read by its key.
        scrub_rate: How many bytes of each bucket are read in a second, in the background, to verify all items. 0: no scrub.
        no_auth: Allow addresses that other machines can reach although no authentication is set up.
        users: The file of the users who may log in. Without one, anybody may do anything.
        login_timeout: How long a client that must log in may be connected without being logged in.
        frame_timeout: How long a request may take to arrive, from its first byte to its last.
        idle_timeout: How long a connection may be idle: nothing arrives, nothing is being answered, and nothing is left to send.
        keepalive: After how long a silence the system asks whether the client's system is still there, on TCP connections. It asks
            three times, in as much time again, and then breaks the connection.
        tls_cert: The PEM file of the certificate for ``tls://`` addresses, followed by its intermediate certificates.
        tls_key: The PEM file of the certificate's private key.
        tls_client_ca: The PEM file of the authorities that sign clients' certificates. The names in those are user names.
        tls_client_required: Refuse clients of ``tls://`` addresses that show no certificate signed by `tls_client_ca`.
        unix_mode: The permission bits of a Unix domain socket. The default, 0o700, lets only the user of the service connect.
        vbuckets: The number of vbuckets of each bucket.
        max_buckets: The maximum number of buckets. Each has its own store and writer thread.
        disable_flush: Refuse FLUSH.
        max_item_size: The largest value.
        max_size: How much the items of each bucket may take that was not made with a bound of its own; 0 for no bound.
        evict: What happens when they would take more: ``size-aware`` evicts what is used least for its size, ``none`` refuses what
            does not fit.
        max_connections: The maximum number of connections. Further ones are answered with an error and closed.
        max_connections_per_address: The maximum number of connections from one IPv4 address, or from one IPv6 network of 64 bits,
            which is what one host has. Unix domain sockets have no address, and no such maximum.
        max_in_flight: The maximum number of requests of one connection that are carried out together. Its further requests wait.
        max_jobs: The maximum number of long commands of one connection that run at once, if its client lets them overlap.
        max_buffered: The maximum of what all connections together hold: requests that have arrived in part, answers that are
            queued, and what is spooled. Where more would be needed, the connections that hold most and whose clients take
            nothing are closed.
        min_read_rate: The least that a client must take while something is queued for it, in bytes per second; 0 for no minimum.
        max_stream_rate: The most that files and range scans send, all together, in bytes per second; 0 for no maximum.
        bucket_share: The share of the scans, snapshots and workers that one bucket may have, if there are several buckets.
        user_share: The share of them that one user may have, if there are several users.
        max_scans: The maximum number of open range scans. Each keeps the database from reusing space that was freed since it began.
        max_scans_per_connection: The maximum number of open range scans of one connection.
        max_scan_life: How long a range scan may stay open.
        max_held_size: How much of deleted and overwritten items open range scans may keep in each bucket's file, or as much as the
            items need, if that is more. When the file grows beyond that, the oldest scan is ended.
        max_snapshots: The maximum number of snapshots of the database's files. Each is a copy of the database.
        max_snapshots_per_connection: The maximum number of snapshots that belong to one connection.
        snapshot_idle: How long a snapshot is kept that nobody reads. If its place is needed, it is removed after half a minute, and
            at once if its connection has gone.
        window: The most bytes that a spool holds for a client, and that are queued for a connection.
        batch: The most bytes of one write.
        look_ahead: The most bytes that are read of further requests while an answer is streamed.
        workers: The number of threads that produce streamed answers.
        send_timeout: How long a client may take no data; it is disconnected within twice that time. What its program reads is seen
            only in steps of up to its receive buffer, some 130 kB on Linux. So a client that reads less than that in this time may
            be disconnected, however steadily it reads.
        drain_timeout: How long running answers may take to finish when the service stops.
        slow_log: How long a command may take, from its arrival to its answer, that is not logged as slow. 0, or infinite: none is.
        hide_keys: Leave keys out of the log and of the statistics of slow commands.
        log_level: The least level of the lines that are logged: ``debug``, ``info``, ``warning`` or ``error``.
        switch_interval: How long a thread may keep the interpreter while another wants it; 0 keeps Python's own setting.
    """

    listen: tuple[str, ...] = attrs.field(default=("tcp://127.0.0.1:11210",), converter=to_tuple, validator=addresses)
    advertise: tuple[str, ...] = attrs.field(default=(), converter=to_tuple, validator=texts)
    management: tuple[str, ...] = attrs.field(default=(), converter=to_tuple, validator=texts)
    protocols: str = attrs.field(default=",".join(PROTOCOLS), validator=words_of(*PROTOCOLS))
    metrics: tuple[str, ...] = attrs.field(default=(), converter=to_tuple, validator=texts)
    metrics_public: bool = attrs.field(default=False, validator=whether)
    data_dir: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    engine: str | EngineKind = attrs.field(default="lmdb", validator=engine)
    allow_network_storage: bool = attrs.field(default=False, validator=whether)
    fsync: str = attrs.field(default="always", validator=one_of(*FSYNC_POLICIES))
    verify_reads: bool = attrs.field(default=False, validator=whether)
    # Picked, not measured: a hundredth of what a slow disk reads, and 86 GB a day.
    scrub_rate: int = attrs.field(default=1024 * KIB, validator=whole(0, MAX_BYTES, " bytes per second (0: no scrub)"))
    no_auth: bool = attrs.field(default=False, validator=whether)
    users: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    login_timeout: float = _live(30.0, seconds(0.001, or_never=True))
    # At 120 seconds, a value of 20 MiB has to come with 175 kB/s. Picked, not measured.
    frame_timeout: float = _live(120.0, seconds(0.001, or_never=True))
    # Couchbase's SDKs ask for the configuration every 2.5 seconds; pools of classic clients may be silent for longer. Picked.
    idle_timeout: float = _live(3600.0, seconds(0.001, or_never=True))
    # Redis' own default. Firewalls forget connections after 350 seconds and more.
    keepalive: float = _live(300.0, seconds(1, MAX_KEEPALIVE, or_never=True))
    tls_cert: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_key: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_ca: Path | None = attrs.field(default=None, converter=to_path, validator=path_or_none)
    tls_client_required: bool = attrs.field(default=False, validator=whether)
    unix_mode: int = attrs.field(default=0o700, validator=permissions)
    vbuckets: int = attrs.field(default=1, validator=whole(1, 1024))
    max_buckets: int = _live(32, whole(1))
    disable_flush: bool = _live(False, whether)
    max_item_size: int = _live(DEFAULT_MAX_ITEM_SIZE, size())
    max_size: int = _live(0, bound)
    evict: str = _live(EVICTION_POLICIES[0], one_of(*EVICTION_POLICIES))
    max_connections: int = _live(4096, whole(1))
    # A quarter of all. Picked, not measured.
    max_connections_per_address: int = _live(1024, whole(1))
    # One read of 16 KiB has at most 682 requests. Picked, not measured.
    max_in_flight: int = _live(1000, whole(1))
    max_jobs: int = _live(MAX_JOBS, whole(1, MAX_MAX_JOBS))
    # Room for 1,700 clients that stop reading a long answer, or for 25 that stop reading values of 20 MiB. Picked, not measured.
    max_buffered: int = _live(1024 * 1024 * KIB, size())
    min_read_rate: int = _live(0, rate())
    max_stream_rate: int = _live(0, rate())
    # They leave others a place of four snapshots, and two of eight workers. Picked, not measured.
    bucket_share: float = _live(0.75, share)
    user_share: float = _live(0.75, share)
    max_scans: int = attrs.field(default=64, validator=whole(1, MAX_SCANS))
    max_scans_per_connection: int = _live(16, whole(1))
    max_scan_life: float = attrs.field(default=180.0, validator=seconds(0.001))
    max_held_size: int = _live(256 * KIB * KIB, size())  # picked, not measured
    max_snapshots: int = _live(4, whole(1))
    max_snapshots_per_connection: int = _live(2, whole(1))
    snapshot_idle: float = _live(300.0, seconds(0.001))
    # With these, a client that stops reading costs the process 613 KiB (the names of all keys) or 602 KiB (a scan), measured like
    # ``nox -s bench -- memory``: a window, the batch that is being written, and what the allocator can't use.
    window: int = _live(320 * KIB, size())
    batch: int = _live(96 * KIB, size())
    look_ahead: int = _live(64 * KIB, size())
    workers: int = _live(8, whole(1))
    send_timeout: float = _live(30.0, seconds(0.001, or_never=True))
    drain_timeout: float = _live(10.0, seconds(0, or_never=True))
    slow_log: float = _live(0.0, seconds(0, or_never=True))
    hide_keys: bool = _live(False, whether)
    # Without a configuration of structlog, lines go to the standard output of the program that embeds the service: so only those
    # that somebody has to look at. ``trio-spool serve``, whose standard error is its log, begins with ``info``.
    log_level: str = _live("warning", one_of(*LOG_LEVELS))
    switch_interval: float = attrs.field(default=0.0, validator=seconds(0, MAX_SWITCH_INTERVAL))

    def __attrs_post_init__(self) -> None:
        parsed = self.addresses
        texts, everywhere = self._named, parsed + self.management_addresses
        for text, address in zip(texts, everywhere, strict=True):
            if not address.is_loopback and self.users is None and not self.no_auth:
                raise SettingsError(
                    f"{text} can be reached from other machines, and no authentication is set up; name a file with --users, "
                    "listen on 127.0.0.1, or say --no-auth if everyone who can connect may read and write"
                )
            if address.tls and (self.tls_cert is None or self.tls_key is None):
                raise SettingsError(f"{text} needs a certificate and its key: give --tls-cert and --tls-key")
        self._check_metrics()
        check_distinct((*texts, *self.metrics), (*everywhere, *self.metrics_addresses))
        advertised_ports(self.advertise, texts, everywhere)
        if self.tls_client_required:
            self._check_client_certificates(everywhere)
        if self.max_item_size > MAX_ITEM_SIZE:
            raise SettingsError(f"max-item-size must be at most {MAX_ITEM_SIZE}, which fits in a frame; got {self.max_item_size}")
        if self.max_buffered < self.least_buffered:
            raise SettingsError(
                f"max-buffered must be at least {self.least_buffered}, for four values of max-item-size ({self.max_item_size}); "
                f"got {self.max_buffered}"
            )

    def _check_metrics(self) -> None:
        for text, address in zip(self.metrics, self.metrics_addresses, strict=True):
            if not address.is_loopback and not self.metrics_public:
                raise SettingsError(
                    f"metrics on {text} could be read from other machines, without a login; use 127.0.0.1, or say --metrics-public "
                    "if everyone who can connect may read them"
                )
            if address.tls and (self.tls_cert is None or self.tls_key is None):
                raise SettingsError(f"metrics on {text} need a certificate and its key: give --tls-cert and --tls-key")

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
    def management_addresses(self) -> tuple[Address, ...]:
        """The addresses to listen on for requests of management, parsed."""
        return tuple(map(parse_address, self.management))

    @property
    def _named(self) -> tuple[str, ...]:
        return self.listen + self.management

    @property
    def metrics_addresses(self) -> tuple[Address, ...]:
        """The addresses to show metrics on, parsed."""
        return tuple(map(parse_address, self.metrics))

    @property
    def advertised(self) -> tuple[int, ...]:
        """For each address, the port that its clients are told; 0 for the port that it listens on."""
        return self._advertised[: len(self.listen)]

    @property
    def management_advertised(self) -> tuple[int, ...]:
        """The same for each address of `management`."""
        return self._advertised[len(self.listen) :]

    @property
    def _advertised(self) -> tuple[int, ...]:
        return advertised_ports(self.advertise, self._named, self.addresses + self.management_addresses)

    @property
    def limits(self) -> SpoolLimits:
        """The limits of each connection's sender and spools."""
        return SpoolLimits(window=self.window, batch=min(self.batch, self.window))

    @property
    def turn_bytes(self) -> int:
        """The most bytes that the requests of one read can add to what their connection holds: an exchange, and one more reply."""
        return EXCHANGE_SIZE + self.max_item_size + KIB

    @property
    def least_buffered(self) -> int:
        """The least that `max_buffered` may be: for two connections with a reply queued and the next one ready."""
        return 4 * self.turn_bytes

    def memory_bytes(self, buckets: int) -> int:
        """Return the most memory that the process needs, in bytes, apart from the pages of databases that the system can drop.

        The sum of what the program takes by itself, of the objects of each connection that there may be, of the HTTP servers for
        management and metrics, of `max_buffered`, of what each worker and the event loop have in hand (a value, the reply with it,
        and the batch with that), and of what each bucket's writer has: a group of operations, their pages, and one value more.
        """
        in_hand = 3 * self.turn_bytes
        writer = 2 * (GROUP_BYTES + self.max_item_size)
        http = (bool(self.management) + bool(self.metrics)) * HTTP_SERVER_BYTES
        program = PROGRAM_BYTES + self.max_connections * IDLE_CONNECTION_BYTES + http
        return program + self.max_buffered + (self.workers + 1) * in_hand + buckets * writer

    @property
    def connection_bytes(self) -> int:
        """The most bytes that one connection's buffers hold.

        The sum of the send queue (a window, and the reply that crossed it), the spools of long commands (a window between them, and
        for each the fragment that crossed its part and a batch in hand), the frame and the read that are being parsed, the
        look-ahead, and one reply.
        """
        item = self.max_item_size + KIB
        return 2 * self.window + (1 + 2 * self.max_jobs) * max(self.batch, item) + 2 * item + 2 * self.look_ahead

    def changed_to(self, other: Settings) -> tuple[Settings, list[str], list[str]]:
        """Take those settings from others that can be changed while a service runs.

        Returns:
            The settings to go on with, the names of those that have changed, and the names of those that differ and can't be
            changed.
        """
        different = [name for name in attrs.fields_dict(Settings) if getattr(self, name) != getattr(other, name)]
        live = {name: getattr(other, name) for name in different if name in LIVE}
        return attrs.evolve(self, **live), list(live), [name for name in different if name not in LIVE]


# The names of the settings that can be changed while a service runs.
LIVE: Final = frozenset(field.name for field in attrs.fields(Settings) if field.metadata.get("live"))
