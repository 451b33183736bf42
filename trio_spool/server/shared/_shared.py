"""What all connections of a service share."""

from __future__ import annotations

import time
from typing import Any

import trio

from ..._incidents import Incidents
from ..._version import __version__
from ...engine import Evicted
from ..data import Bucket, Buckets, space_of
from ..settings import Address, Settings, TcpAddress, UnixAddress
from ._admission import Admission
from ._allocator import Allocator, find_trim
from ._buffers import Buffers
from ._connections import Connections
from ._counters import Counters
from ._entrances import Entrance
from ._events import Events
from ._file_snapshots import FileSnapshots
from ._life import Life
from ._listener import Listener
from ._log import Log
from ._logins import Logins
from ._prefixes import Prefixes
from ._scans import Scans
from ._sequence_waits import SequenceWaits
from ._shares import Shares, Workers
from ._slow_log import SlowLog
from ._throttle import Throttle
from ._timekeeper import Timekeeper
from ._timings import LoopLag, Timings, Uptime
from ._tuning import Tuning

# Copies of the database that are made at one time. More would only take turns at the disk. Picked, not measured.
COPIERS = 2


class Shared:
    """What all connections share. Only the event loop's thread uses it, but for the engines.

    Attributes:
        settings: What the service is run with.
        tuning: Values that are no settings.
        life: The stage that the service is in.
        buckets: The buckets.
        logins: The users.
        counters: What is counted.
        timings: How long commands take, and how they end.
        limits: How often each limit was reached.
        lag: How late the event loop is.
        uptime: How long the service has been running.
        epoch: When the service began: a Unix time in whole seconds.
        version: The version of trio-spool.
        verbosity: The last level that a client has set. Only the command VERBOSITY writes it.
        limiter: Bounds the threads that produce streamed answers. They have a limiter of their own, so that nothing else this
            process does in threads can keep them waiting.
        copiers: Bounds the threads that copy the database.
        snapshots: The snapshots of the database's files.
        scans: The open range scans.
        waits: The clients that wait until a bucket has reached a sequence number.
        connections: The open connections.
        events: What happens, for those who watch.
        prefixes: How often items are used, by the beginning of their keys, if a client has switched that on.
        listening: The addresses that it listens on, with the ports that the system chose. The service sets them when it begins.
        listeners: The same, as clients see them. The service sets them when it begins.
        entrances: The listeners for management. Their companion sets them when it begins.
        log: The log, for what happens seldom.
        incidents: The log, for what may happen often.
        slow: Takes note of slow commands.
        admission: Who may connect.
        buffers: What all connections hold together.
        timekeeper: Ends connections that take too long.
        throttle: Holds back what is sent in bulk.
        allocator: Gives memory back to the system.
        shares: What one bucket and one user may have.
        workers: The limiters of workers for the work in one bucket, and for one user.

    Args:
        settings: As above.
        tuning: As above.

    Raises:
        UsersError: The file of users can't be used.
    """

    def __init__(self, settings: Settings, tuning: Tuning) -> None:
        self.settings = settings
        self.tuning = tuning
        self.life = Life()
        self.log = Log(settings.log_level)
        self.slow = SlowLog(settings, self.log, tuning.clock)
        self.incidents = Incidents(self._write, tuning.clock)
        wake = trio.lowlevel.current_trio_token().run_sync_soon
        self.buckets = Buckets(settings, wake, incidents=self.incidents)
        self.limits = self.buckets.limits
        self.logins = Logins(settings.users, tuning.first_refusal, tuning.max_refusal)
        self.counters = Counters()
        self.timings = Timings()
        self.lag = LoopLag()
        self.uptime = Uptime(tuning.clock)
        self.epoch = int(time.time())
        self.version = __version__
        self.verbosity = 0
        self.limiter = trio.CapacityLimiter(settings.workers)
        self.copiers = trio.CapacityLimiter(COPIERS)
        self.snapshots = FileSnapshots(
            settings.data_dir, settings.max_snapshots, settings.max_snapshots_per_connection, settings.snapshot_idle, tuning.clock
        )
        self.scans = Scans(
            settings.max_scans, settings.max_scans_per_connection, settings.max_scan_life, tuning.between_scans, self.incidents,
            tuning.clock,
        )  # fmt: skip
        self.waits = SequenceWaits(tuning.clock)
        self.events = Events()
        self.prefixes = Prefixes()
        self.buckets.watches_evictions = lambda: self.events.evictions
        self.buckets.evicted = self._report_evicted
        self.connections = Connections()
        self.listening: list[Address] = []
        self.listeners: list[Listener] = []
        self.entrances: list[Entrance] = []
        self.admission = Admission()
        self.buffers = Buffers(self._now, self.connections, self.counters, self.incidents, tuning.clock)
        self.timekeeper = Timekeeper(self._now, self.counters, self.incidents, self.scans.is_scanning, tuning.clock)
        self.allocator = Allocator(find_trim())
        self.throttle = Throttle(lambda: self.settings.max_stream_rate)
        self.shares = Shares(self._now, self.buckets.__len__, self.logins.__len__)
        self.workers = Workers(self.shares, self.limiter)
        self.scans.shares = self.snapshots.shares = self.shares
        self.scans.limits = self.snapshots.limits = self.buffers.limits = self.timekeeper.limits = self.limits

    def _now(self) -> Settings:
        return self.settings

    def change(self, settings: Settings) -> None:
        """Go on with other settings. Those that can't change while the service runs must be the same as before."""
        self.settings = settings
        self.log.change(settings.log_level)
        self.slow.change(settings)
        self.buckets.change(settings)
        self.snapshots.change(settings.max_snapshots, settings.max_snapshots_per_connection, settings.snapshot_idle)
        self.scans.change(settings.max_scans_per_connection)
        self.limiter.total_tokens = settings.workers
        self.buffers.change()

    def _write(self, level: str, event: str, details: dict[str, object], error: BaseException | None) -> None:
        """Write a line of the log, for `incidents`."""
        if error is not None:
            details = {**details, "exc_info": error}
        self.log.write(level, event, **details)

    def key_of(self, key: str) -> dict[str, Any]:
        """Return the detail of a line of the log that is a key, if keys may be logged."""
        return {} if self.settings.hide_keys else {"key": key}

    def _report_evicted(self, bucket: Bucket, evicted: list[Evicted]) -> None:
        """Report what was evicted to those who watch."""
        accesses, now = bucket.note_accesses(), time.time()
        for key, size, expiry, cas in evicted:
            ttl = max(int(expiry - now), 0) if expiry else -1
            fetched = accesses.find(key, cas) is not None
            self.events.evicted(key[len(space_of(key)) :], ttl, accesses.since(key, cas), size, fetched=fetched)

    def leave(self, bucket: Bucket, but: int) -> None:
        """End everything that uses a bucket, which is being deleted.

        Args:
            bucket: The bucket.
            but: The number of the connection that deletes it. That one stays, without a bucket.
        """
        for connection in self.connections:
            connection.leave(bucket, stay=connection.number == but)
        self.scans.end_of_bucket(bucket)

    def reset_statistics(self) -> None:
        """Begin counting anew."""
        self.counters.reset()
        self.prefixes.reset()
        self.timings.reset()
        self.slow.reset()
        self.limits.reset()
        self.lag.reset()

    def port(self, *, tls: bool) -> int:
        """Return the first TCP port, with TLS or without, that it listens on; 0 if there is none."""
        return next((each.port for each in self.listening if isinstance(each, TcpAddress) and each.tls == tls), 0)

    def port_beside(self, listener: Listener, *, tls: bool) -> int:
        """Return the TCP port, with TLS or without, for a client that came in by a listener; 0 if there is none.

        It is the port of that listener if this is of the wanted kind, and otherwise the first one of that kind. A client that came
        from outside, by an advertised port, gets another advertised one if there is any, and a client from inside none of those.
        """
        if listener.port and listener.tls == tls:
            return listener.port
        found = [each for each in self.listeners if each.port and each.tls == tls]
        return next((each.port for each in found if each.mapped == listener.mapped), found[0].port if found else 0)

    def unix_path(self) -> str:
        """Return the path of the first Unix domain socket that it listens on, or an empty string."""
        return next((each.path for each in self.listening if isinstance(each, UnixAddress)), "")
