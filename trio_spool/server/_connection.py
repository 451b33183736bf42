"""One connection: reads what its client sends, hands it to the protocol, and owns the sender."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from .._core import Receiver, Sender, SpoolStatistics, open_sender, progress, socket_below
from .._formats import host_of
from ..auth import User
from ._farewell import see_off
from .conversation import CommandContext, Detect, Guest, Host, Jobs, Session
from .data import Bucket
from .shared import Activity, Listener, Shared

# Bytes that are read at once. They bound how many commands run before other connections get their turn: some 500 GETs of short
# keys.
READ_SIZE = 16 * 1024
# Bytes that are looked ahead at once. A buffer of this size is allocated for each read, however little the client has sent. The
# size of the default look-ahead; picked, not measured.
READ_AHEAD_SIZE = 64 * 1024


class Connection:
    """What goes on with one client.

    Attributes:
        number: Counts connections, from 1.
        moved: Once it has ended: how many bytes it has read, written, and queued in vain at most.

    Args:
        shared: What all connections share.
        number: As above.
        peer: The address of the client, for the statistics.
        listener: How the client came in.
        detect: Returns the protocol that begins with a byte.
    """

    def __init__(self, shared: Shared, number: int, peer: str, listener: Listener, detect: Detect) -> None:
        self._shared = shared
        self.number = number
        self._detect = detect
        self._began = shared.uptime.seconds()
        self._session = Session(listener, shared.buckets.default, peer)
        self._guest: Guest | None = None
        # While it runs.
        self._sender: Sender | None = None
        self._receiver: Receiver
        self._jobs: Jobs
        self._reading = trio.CancelScope()
        self._ahead = bytearray()  # read while jobs were running
        self._socket: trio.socket.SocketType | None = None
        self._receiving = False  # waiting for the client to send something
        self._told = False  # the client was told why it may not stay
        self._idle = False  # waiting for a request, with nothing half done but perhaps jobs
        self._stopping = False
        self._bytes_read = 0
        # Once it has ended.
        self._written = 0
        self.moved = 0
        self._spools = SpoolStatistics()

    async def run(self, stream: trio.abc.Stream) -> None:
        """Serve until the client leaves, breaks the protocol, or the service stops.

        The connection ends at end of file, at an error while reading, when the protocol closes it, when the client does not read
        (the sender closes the stream, and reading fails), when the service stops and no command runs, and by cancellation. What was
        answered before any of these but the last is still sent, as far as the client takes it.
        """
        try:
            await self._run(stream)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Keep the counters, and drop everything else: it refers back to us, and a full collection of garbage may be far away."""
        self._written, self._spools = self.bytes_written(), self.spool_statistics()
        if self._sender is not None:
            self.moved = self._bytes_read + self._written + self._sender.statistics().high_water
            del self._receiver, self._jobs
        self._sender = self._guest = self._socket = None
        self._ahead.clear()

    async def _run(self, stream: trio.abc.Stream) -> None:
        settings = self._shared.settings
        self._receiver = Receiver(stream)
        self._socket = socket_below(stream)
        # The reader notices a client that leaves; the sender need not look for it.
        async with open_sender(stream, limits=settings.limits, send_timeout=settings.send_timeout, watch_peer=False) as sender:
            with self._reading:
                async with trio.open_nursery() as nursery:
                    self._jobs = jobs = Jobs(self._shared, nursery, self.number, sender, self._job_ended)
                    self._sender = sender
                    await self._serve(Host(self._shared, self._session, sender, jobs, self._read_ahead))
                    nursery.cancel_scope.cancel()
        if self._told:
            await see_off(stream, self._shared.tuning.farewell)

    def _note_stall(self, sender: Sender) -> None:
        """Report a client that was given up because it took no replies."""
        if sender.stalled is not None:
            self._shared.limits.hit("send-timeout")
            self._report("client does not read", reason=sender.stalled)

    def _report(self, event: str, **details: Any) -> None:
        """Report what a client does that it should not: in the log, each address has a line of its own."""
        peer = self._session.peer
        self._shared.incidents.report(event, place=host_of(peer), connection=self.number, peer=peer, **details)

    def log_in(self, user: User) -> None:
        """Let in a user who has proved their identity by other means than a login. Call it before `run`."""
        self._session.log_in(user)

    def leave(self, bucket: Bucket, *, stay: bool) -> None:
        """End the connection if it works on a bucket, which is being deleted; or let it stay, without a bucket."""
        if self._session.bucket is bucket:
            self._session.leave_bucket()
            if not stay:
                self._reading.cancel()

    async def _serve(self, host: Host) -> None:
        try:
            data = await self._receive()
            begin = self._detect(data[0]) if data else None
            if begin is None:
                if data:
                    self._shared.counters.bad_requests += 1
                    self._report("not a protocol that is spoken here", first_byte=f"0x{data[0]:02x}")
                return
            guest = self._guest = begin(host)
            await guest.feed(data)
            while not guest.closing and (data := await self._receive()):
                await guest.feed(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._note_stall(host.sender)  # the client has gone, or was given up

    @property
    def _buffered(self) -> int:
        return 0 if self._guest is None else self._guest.buffered

    async def _receive(self) -> bytes:
        if self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            return data
        if self._stopping and self._may_end:  # without a call for each read of a service that does not stop
            await self._jobs.wait(0, trio.sleep_forever)
            if self._may_end:  # what ran may have opened a scan
                return b""
        guest = self._guest
        self._idle = guest is None or not guest.buffered  # `_buffered`, without a second call for each read
        self._receiving = True
        data = await self._receiver.receive_some(READ_SIZE)
        self._idle = self._receiving = False
        self._count_read(data)
        return data

    async def _read_ahead(self) -> None:
        """Read requests while jobs keep them from being answered, up to a bound; return if the client leaves."""
        look_ahead, receiver = self._shared.settings.look_ahead, self._receiver
        try:
            while len(self._ahead) < look_ahead:
                data = await receiver.receive_some(min(look_ahead - len(self._ahead), READ_AHEAD_SIZE))
                if not data:
                    return
                self._ahead += data
                self._count_read(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self._sender is not None:
                self._note_stall(self._sender)
            return
        await trio.sleep_forever()

    def _count_read(self, data: bytes) -> None:
        self._bytes_read += len(data)
        self._shared.buffers.add(len(data))
        self._shared.counters.bytes_read += len(data)

    @property
    def _may_end(self) -> bool:
        """Whether the service stops, and the client has asked for nothing that is not answered but perhaps by jobs."""
        return self._stopping and not self._buffered and not self._shared.scans.is_scanning(self.number)

    def stop(self) -> None:
        """Close the connection as soon as what was asked has been answered, and no scan is open.

        Call it again now and then: a scan may be ended by others.
        """
        self._stopping = True
        self._job_ended()

    def _job_ended(self) -> None:
        if self._idle and self._may_end and not self.jobs():
            self._reading.cancel()

    # Limits

    def held(self) -> int:
        """Return how many bytes it holds: what has arrived in part, what is queued, and what is spooled."""
        if self._sender is None:
            return 0
        guest = self._guest
        return self._sender.held + self._jobs.held + len(self._ahead) + (0 if guest is None else guest.held)

    def taken(self) -> int:
        """Return a number that grows by each byte that the client's system takes."""
        if self._socket is None:
            return self.bytes_written()
        taken = progress(self._socket)
        if taken is None:
            return self.bytes_written()
        return taken if taken > 0 else self.bytes_written() + taken  # a Unix domain socket tells what it has not taken

    def progress(self) -> int | None:
        """Return a number that grows when the client sends or takes something; None if the client has to wait for the service."""
        if not self._receiving and (self._sender is None or not self._sender.queued) and not self.jobs():
            return None
        return self._bytes_read + self.taken()

    def activity(self) -> Activity:
        """Return what it does at the moment."""
        guest, queued = self._guest, self._sender is not None and self._sender.held > 0
        frame = None
        if self._receiving and guest is not None:
            if guest.buffered:
                frame = self._bytes_read - guest.buffered
            elif guest.skipping:
                frame = -self._bytes_read - guest.skipping
        idle = self._receiving and frame is None and not queued and not self.jobs()
        return Activity(self._bytes_read, frame, idle, queued, self._session.user is None)

    def who(self) -> tuple[str, str]:
        """Return the client's address and the user's name, for the log."""
        user = self._session.user
        return self._session.peer, user.name if user is not None else ""

    def end(self, why: str) -> None:
        """End the connection. A request that has arrived in part is answered: the client is told why."""
        answer = b"" if self._guest is None else self._guest.refuse_unfinished(why)
        if answer and self._sender is not None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                self._sender.send_nowait(answer)
                self._told = True
        self._reading.cancel()

    def break_off(self) -> None:
        """End the connection at once, and send nothing more."""
        if self._sender is not None:
            self._sender.abort()
        self._reading.cancel()

    # Statistics

    def bytes_written(self) -> int:
        """Return how many bytes the kernel has accepted."""
        return self._written if self._sender is None else self._sender.statistics().bytes

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its spools."""
        if self._sender is None:
            return self._spools
        return self._sender.statistics().spools + self._jobs.spool_statistics()

    def counted(self) -> tuple[int, SpoolStatistics]:
        """Return what `bytes_written` and `spool_statistics` do, in less time than either."""
        if self._sender is None:
            return self._written, self._spools
        statistics, jobs = self._sender.statistics(), self._jobs
        overlapped = jobs.running or jobs.past_spools.turns
        return statistics.bytes, statistics.spools + jobs.spool_statistics() if overlapped else statistics.spools

    def jobs(self) -> list[CommandContext]:
        """Return the long commands that are running."""
        return list(self._jobs.running) if self._sender is not None else []

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics."""
        session, guest = self._session, self._guest
        description: dict[str, object] = {
            "peer": session.peer,
            "agent": "",
            "user": session.user.name if session.user is not None else None,
            "bucket": session.bucket.name if session.bucket is not None else None,
            "tls": session.listener.tls,
            "session": "classic",  # unless the protocol says otherwise
            "age": self._shared.uptime.seconds() - self._began,
            "commands": 0 if guest is None else guest.commands,
            "bytes_read": self._bytes_read,
            "buffered": self._buffered,
            "streaming": ", ".join(job.label for job in self.jobs()),
        }
        if guest is not None:
            description |= guest.describe()
        if self._sender is not None:
            statistics = self._sender.statistics()
            description.update(
                bytes_written=statistics.bytes,
                queued=statistics.queued,
                held=self.held(),
                high_water=statistics.high_water,
                blocked_seconds=round(statistics.blocked_seconds, 3),
                spool=_describe_spools(self.spool_statistics()),
            )
        return description


def _describe_spools(spools: SpoolStatistics) -> dict[str, object]:
    return {
        "fragments": spools.fragments,
        "bytes": spools.bytes,
        "batches": spools.batches,
        "wakeups": spools.wakeups,
        "turns": spools.turns,
        "blocked_seconds": round(spools.blocked_seconds, 3),
        "high_water": spools.high_water,
    }
