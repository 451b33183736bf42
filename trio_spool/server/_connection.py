"""One connection: reads what its client sends, hands it to the protocol, and owns the sender."""

from __future__ import annotations

import errno
import ssl
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import trio

from .._core import Receiver, Sender, open_sender, socket_below
from .._files import explain
from .._formats import host_of
from ..auth import User
from ._farewell import see_off
from ._known import Known
from .conversation import Detect, Guest, Host, Jobs
from .data import Bucket, OutcomeUnknownError
from .shared import Cause, Listener, Shared

# The errors of the system by which a client's system ends a connection, or says that it has ended.
_RESETS: Final = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)

# Bytes that are read at once. They bound how many commands run before other connections get their turn: some 500 GETs of short
# keys.
READ_SIZE = 16 * 1024
# Bytes that are looked ahead at once. A buffer of this size is allocated for each read, however little the client has sent. The
# size of the default look-ahead; picked, not measured.
READ_AHEAD_SIZE = 64 * 1024


class Connection(Known):
    """What goes on with one client.

    Args:
        shared: What all connections share.
        number: Counts connections, from 1.
        peer: The address of the client, for the statistics.
        listener: How the client came in.
        detect: Returns the protocol that begins with a byte.
    """

    def __init__(self, shared: Shared, number: int, peer: str, listener: Listener, detect: Detect) -> None:
        super().__init__(shared, number, peer, listener)
        self._detect = detect
        # While it runs.
        self._receiver: Receiver
        self._reading = trio.CancelScope()
        self._arrived = 0.0  # when the first of what was read ahead has arrived
        self._told = False  # the client was told why it may not stay
        self._idle = False  # waiting for a request, with nothing half done but perhaps jobs

    async def run(self, stream: trio.abc.Stream) -> None:
        """Serve until the client leaves, breaks the protocol, or the service stops.

        The connection ends at end of file, at an error while reading, when the protocol closes it, when the client does not read
        (the sender closes the stream, and reading fails), when the service stops and no command runs, and by cancellation. What was
        answered before any of these but the last is still sent, as far as the client takes it.
        """
        try:
            await self._run(stream)
        except Exception as exc:
            self.because(Cause.ERROR, type(exc).__name__)
            raise
        except BaseException:
            self.because(Cause.DRAIN_TIMEOUT)  # or the second signal; nothing else cancels a connection from outside
            raise
        finally:
            self._let_go()

    def because(self, cause: Cause, why: str = "") -> None:
        """Note why it ends. The first cause counts."""
        if self.cause is None:
            self.cause, self._why = cause, why

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

    def _note_loss(self, error: BaseException, sender: Sender) -> None:
        """Note why nothing can be read or sent any more. Report a client that was given up because it took no replies."""
        if sender.stalled is not None:
            self._shared.limits.hit("send-timeout")
            self._report("client does not read", reason=sender.stalled)
            self.because(Cause.SEND_TIMEOUT, sender.stalled)
        elif isinstance(error, OutcomeUnknownError):
            self.because(Cause.ENGINE_FAILED)
        elif self._jobs.incomplete or sender.incomplete:
            self.because(Cause.REPLY_INCOMPLETE)
        else:
            self.because(*_why_lost(error, sender))

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
                self.because(Cause.BUCKET_DELETED)
                self._reading.cancel()

    async def _serve(self, host: Host) -> None:
        try:
            data = await self._receive()
            begin = self._detect(data[0]) if data else None
            if begin is None:
                if data:
                    self._shared.counters.bad_requests += 1
                    self._report("not a protocol that is spoken here", first_byte=f"0x{data[0]:02x}")
                    self.because(Cause.UNKNOWN_PROTOCOL, f"0x{data[0]:02x}")
                return
            guest = self._guest = begin(host)
            await guest.feed(data)
            while guest.cause is None and (data := await self._receive()):
                await guest.feed(data)
            if guest.cause is not None:
                self.because(guest.cause)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._note_loss(exc, host.sender)  # the client has gone, or was given up

    async def _receive(self) -> bytes:
        if self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            self._session.arrived = self._arrived
            return data
        if self._stopping and self._may_end:  # without a call for each read of a service that does not stop
            await self._jobs.wait(0, trio.sleep_forever)
            if self._may_end:  # what ran may have opened a scan
                self.because(Cause.DRAIN)
                return b""
        guest = self._guest
        self._idle = guest is None or not guest.buffered  # `_buffered`, without a second call for each read
        self._receiving = True
        data = await self._receiver.receive_some(READ_SIZE)
        self._idle = self._receiving = False
        self._active = self._session.arrived = perf_counter()
        if not data:
            self._note_end(guest)
        self._count_read(data)
        return data

    def _note_end(self, guest: Guest | None) -> None:
        """Note that the client has ended its stream.

        The system says only once that a connection was reset: perhaps to the sender, and then the reader sees the end.
        """
        if self._sender is not None and self._sender.broken is not None:
            self._note_loss(trio.ClosedResourceError(), self._sender)
        elif guest is not None and (left := guest.buffered or guest.skipping):
            self.because(Cause.CLIENT_CLOSED_EARLY, f"{left} bytes of a request had come" if guest.buffered else "")
        else:
            self.because(Cause.CLIENT_CLOSED)

    async def _read_ahead(self) -> None:
        """Read requests while jobs keep them from being answered, up to a bound; return if the client leaves."""
        look_ahead, receiver = self._shared.settings.look_ahead, self._receiver
        try:
            while len(self._ahead) < look_ahead:
                data = await receiver.receive_some(min(look_ahead - len(self._ahead), READ_AHEAD_SIZE))
                if not data:
                    self._note_end(None)
                    return
                self._active = perf_counter()
                if not self._ahead:
                    self._arrived = self._active
                self._ahead += data
                self._count_read(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            if self._sender is not None:
                self._note_loss(exc, self._sender)
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
            self.because(Cause.DRAIN)
            self._reading.cancel()

    def end(self, why: str, cause: Cause) -> None:
        """End the connection. A request that has arrived in part is answered: the client is told why."""
        self.because(cause)
        answer = b"" if self._guest is None else self._guest.refuse_unfinished(why)
        if answer and self._sender is not None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                self._sender.send_nowait(answer)
                self._told = True
        self._reading.cancel()

    def break_off(self, cause: Cause) -> None:
        """End the connection at once, and send nothing more."""
        self.because(cause)
        if self._sender is not None:
            self._sender.abort()
        self._reading.cancel()


def _why_lost(error: BaseException, sender: Sender) -> tuple[Cause, str]:
    """Return why a stream broke, as far as the system says."""
    below: BaseException | None = error
    while below is not None and not isinstance(below, OSError):  # also an error of TLS
        below = below.__cause__
    if isinstance(below, ssl.SSLError):
        return Cause.TLS, below.reason or str(below)
    if below is None:
        return Cause.RESET, sender.broken or ""
    if below.errno in _RESETS:
        return Cause.RESET, ""
    return Cause.NETWORK, explain(below)
