"""What is known of one connection: for the limits, for the statistics, and for the log."""

from __future__ import annotations

from time import perf_counter

import trio

from .._core import Sender, SpoolStatistics, kernel_queues, progress
from .conversation import MAX_NAMES, CommandContext, CutOff, Doing, Guest, Jobs, Queued, Session, Waits
from .settings import KIB
from .shared import Activity, Cause, Listener, Shared

_NEXT_REQUEST = "the next request"


class Known:
    """What is known of one connection, while it goes on and once it has ended. It changes nothing.

    Attributes:
        number: Counts connections, from 1.
        cause: Why it ends, or has ended; None while it goes on.
        moved: Once it has ended: how many bytes it has read, written, and queued in vain at most.

    Args:
        shared: What all connections share.
        number: As above.
        peer: The address of the client.
        listener: How the client came in.
    """

    def __init__(self, shared: Shared, number: int, peer: str, listener: Listener) -> None:
        self._shared = shared
        self.number = number
        self.cause: Cause | None = None
        self._why = ""  # more about the cause
        self._clock = shared.tuning.clock
        self._began = self._clock()
        self._active = perf_counter()  # when something has arrived last
        self._session = Session(listener, shared.buckets.default, peer)
        self._session.connection = number
        self._guest: Guest | None = None
        # While it runs.
        self._sender: Sender | None = None
        self._jobs: Jobs
        self._ahead = bytearray()  # read while jobs were running
        self._socket: trio.socket.SocketType | None = None
        self._receiving = False  # waiting for the client to send something
        self._stopping = False
        self._bytes_read = 0
        # Once it has ended.
        self._written = self._commands = 0
        self._agent = ""
        self._cut_off: list[CutOff] = []
        self.moved = 0
        self._spools = SpoolStatistics()

    def _let_go(self) -> None:
        """Keep what is needed, and drop everything else: it refers back to us, and a collection of garbage may be far away."""
        self._written, self._spools = self.bytes_written(), self.spool_statistics()
        guest = self._guest
        if guest is not None:
            self._commands = guest.commands
            self._agent = str(guest.describe().get("agent", ""))
            doing = guest.doing()
            if self.cause is not Cause.ERROR and doing.waits_for is Waits.WRITER:
                self._cut_off += [CutOff(name, 0, 0, perf_counter() - doing.since) for name in doing.commands[:MAX_NAMES]]
        if self._sender is not None:
            self.moved = self._bytes_read + self._written + self._sender.statistics().high_water
            self._cut_off += self._jobs.cut_off
            del self._jobs
        self._sender = self._guest = self._socket = None
        self._ahead.clear()

    # For the limits

    @property
    def _buffered(self) -> int:
        return 0 if self._guest is None else self._guest.buffered

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

    # Statistics

    def bytes_written(self) -> int:
        """Return how many bytes the kernel has accepted."""
        return self._written if self._sender is None else self._sender.statistics().bytes

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its spools."""
        if self._sender is None:
            return self._spools
        return self._sender.spool_statistics() + self._jobs.spool_statistics()

    def counted(self) -> tuple[int, SpoolStatistics]:
        """Return what `bytes_written` and `spool_statistics` do, in less time than either."""
        if self._sender is None:
            return self._written, self._spools
        statistics, jobs = self._sender.statistics(), self._jobs
        overlapped = jobs.running or jobs.past_spools.turns
        return statistics.bytes, statistics.spools + jobs.spool_statistics() if overlapped else statistics.spools

    def spooled(self) -> int:
        """Return how many bytes its spools hold, and what of them is being written."""
        sender = self._sender
        if sender is None:
            return 0
        return sender.held - sender.queued + sum(context.held for context in self._jobs.running)

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
            "age": int(self._clock() - self._began),
            "commands": 0 if guest is None else guest.commands,
            "bytes_read": self._bytes_read,
            "buffered": self._buffered,
            "streaming": ", ".join(job.label for job in self.jobs()),
        }
        if guest is not None:
            description |= guest.describe()
        if self._sender is not None:
            description |= self._describe_sending(self._sender) | self._describe_waiting(self._sender)
        return description

    def _describe_sending(self, sender: Sender) -> dict[str, object]:
        statistics, spools = sender.statistics(), self.spool_statistics()
        return {
            "bytes_written": statistics.bytes,
            "queued": statistics.queued,
            "held": self.held(),
            "high_water": statistics.high_water,
            "blocked_seconds": round(statistics.blocked_seconds, 3),
            "spool": {
                "fragments": spools.fragments,
                "bytes": spools.bytes,
                "batches": spools.batches,
                "wakeups": spools.wakeups,
                "turns": spools.turns,
                "blocked_seconds": round(spools.blocked_seconds, 3),
                "high_water": spools.high_water,
                "window": self._shared.settings.window,
                "depth": sender.held - sender.queued + self._jobs.held - self._jobs.waiting,
                "client_takes_nothing_for": round(sender.blocked_seconds, 3),
            },
        }

    def _describe_waiting(self, sender: Sender) -> dict[str, object]:
        now, guest, queues = perf_counter(), self._guest, self._kernel_queues()
        doing = Doing() if guest is None else guest.doing()
        queued = Queued() if guest is None else guest.queued(bytes(self._ahead))
        current = [_current(job.command, job.seconds(), job.waits()) for job in self.jobs()]
        current += [_current(name, now - doing.since, doing.waits_for) for name in doing.commands[:MAX_NAMES]]
        description: dict[str, object] = {
            "waits_for": self._waits_for(sender, doing),
            "current": current,
            "current_count": len(self.jobs()) + len(doing.commands),
            "waiting_commands": list(queued.commands),
            "waiting_count": queued.number,
            "read_ahead": len(self._ahead),
            "idle_seconds": round(now - self._active, 3),
        }
        if queues is not None:
            description["kernel_in"], description["kernel_out"] = queues
        return description

    def _kernel_queues(self) -> tuple[int, int] | None:
        return None if self._socket is None else kernel_queues(self._socket)

    def _waits_for(self, sender: Sender, doing: Doing) -> str:
        """Return in words what keeps the connection from going on."""
        if self.cause is not None:
            return f"its end: {self.cause.value}"
        waits = [job.waits() for job in self.jobs()]
        if sender.blocked_seconds or Waits.CLIENT in (*waits, doing.waits_for):
            return self._client_reads_nothing(sender)
        if waits:
            return _words(next((each for each in waits if each is not None), None)) or "a worker that is at work"
        if doing.waits_for is not None:
            return doing.waits_for.value
        if not self._receiving:
            return "its turn in the event loop"
        if self._buffered or (self._guest is not None and self._guest.skipping):
            return "the rest of a request"
        return f"{_NEXT_REQUEST}, to end" if self._stopping else _NEXT_REQUEST

    def _client_reads_nothing(self, sender: Sender) -> str:
        queues = self._kernel_queues()
        kernel = "" if queues is None else f"{queues[1]:,} bytes in the kernel, "
        return (
            f"the client, which has read nothing for {sender.blocked_seconds:.1f} s: {kernel}"
            f"{(sender.held + self._jobs.held) / KIB:,.0f} KiB queued and spooled"
        )

    # The log

    def log_end(self, listener: str) -> None:
        """Log that it has ended, and which commands that has cut off.

        Args:
            listener: The address at which the client came in.
        """
        log, session = self._shared.log, self._session
        reason = "" if self.cause is None else self.cause.value
        peer, user = self.who()
        bucket = None if session.bucket is None else session.bucket.name
        for cut in self._cut_off:
            self._shared.incidents.report(
                "a command was cut off", level="info", command=cut.command, sent=cut.bytes, items=cut.items,
                seconds=round(cut.seconds, 3), reason=reason, connection=self.number, peer=peer, user=user or None, bucket=bucket,
            )  # fmt: skip
        if log.debugging:
            log.debug(
                "connection ended", connection=self.number, peer=peer, agent=self._agent, user=user or None, bucket=bucket,
                listener=listener, bytes_read=self._bytes_read, bytes_written=self._written, commands=self._commands,
                seconds=round(self._clock() - self._began, 3), reason=reason, **({"details": self._why} if self._why else {}),
            )  # fmt: skip


def _words(waits: Waits | None) -> str:
    return "" if waits is None else waits.value


def _current(command: str, seconds: float, waits: Waits | None) -> dict[str, object]:
    return {"command": command, "seconds": round(seconds, 3), "waits_for": _words(waits)}
