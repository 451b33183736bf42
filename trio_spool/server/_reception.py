"""Where clients come in: each is admitted or turned away, encrypted if its listener says so, and served until it ends."""

from __future__ import annotations

import ssl

import trio

from .._core import let_go
from .._formats import host_of
from .._incidents import place_of
from ._connection import Connection
from ._keepalive import keep_alive
from ._listening import BoundListener, names_of, peer_name
from ._turning_away import MAX_TOLD, turn_away
from .conversation import Detect
from .protocols import refuse_first
from .shared import Cause, NoPlace, Shared, counted_as


class Reception:
    """Serves clients.

    Args:
        shared: What their connections share.
        detect: Returns the protocol that begins with a byte.

    Attributes:
        turned_away: How many clients are being told that there is no place for them.
    """

    def __init__(self, shared: Shared, detect: Detect) -> None:
        self._shared = shared
        self._detect = detect
        self.turned_away = 0

    async def accept(self, listener: BoundListener, nursery: trio.Nursery) -> None:
        """Accept connections for ever, and serve each in a task of its own.

        Args:
            listener: Where they come in.
            nursery: For these tasks.
        """

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, listener)

        await listener.accept(serve, nursery, self._shared.incidents)

    async def _serve(self, stream: trio.SocketStream, listener: BoundListener) -> None:
        """Serve one connection, and let nothing that goes wrong in it go further."""
        shared, peer = self._shared, peer_name(stream)
        counted = counted_as(host_of(peer))
        refusal = shared.admission.refusal(counted, len(shared.connections), shared.settings)
        if shared.life.draining or refusal is not None:
            shared.counters.rejected_connections += 1
            if refusal is not None and not shared.life.draining:
                shared.limits.hit(refusal.option)
                await self._refuse(stream, peer, refusal, listener.tls)
            await trio.aclose_forcefully(stream)
            return
        keep_alive(stream, shared.settings.keepalive)
        shared.admission.enter(counted)
        shared.counters.total_connections += 1
        connection = Connection(shared, shared.connections.next_number(), peer, listener.listener, self._detect)
        shared.connections.add(connection)
        if shared.events.connevents:
            shared.events.connected(connection.number, peer)
        try:
            if listener.tls is None:
                async with stream:
                    await connection.run(stream)
            else:
                await self._run_encrypted(connection, _encrypted(stream, listener.tls))
        except Exception as exc:
            shared.incidents.report(
                "connection failed", place=place_of(exc), level="error", error=exc, connection=connection.number, peer=peer
            )
            let_go(exc)
        finally:
            shared.connections.remove(connection)
            if shared.events.connevents:
                shared.events.disconnected(connection.number, peer, connection.cause)
            shared.admission.leave(counted)
            shared.timekeeper.forget(connection)
            shared.buffers.forget(connection)
            shared.scans.end_of(connection.number)
            shared.snapshots.end_of(connection.number)
            shared.allocator.ended(connection.moved)
            connection.log_end(str(listener.address))

    async def _refuse(self, stream: trio.SocketStream, peer: str, refusal: NoPlace, tls: ssl.SSLContext | None) -> None:
        """Tell a client for which there is no place, unless many are being told already."""
        shared, seconds = self._shared, self._shared.tuning.farewell
        shared.incidents.report(refusal.event, place=refusal.place, peer=peer, limit=refusal.limit, hint=f"raise {refusal.option}")
        if self.turned_away >= MAX_TOLD:
            return
        self.turned_away += 1
        try:
            if tls is None:
                await turn_away(stream, refuse_first, refusal.told, seconds)
            else:
                encrypted = _encrypted(stream, tls)
                with trio.fail_after(seconds):
                    await encrypted.do_handshake()
                await turn_away(encrypted, refuse_first, refusal.told, seconds)
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            let_go(exc)  # the client has gone, or does not want to know
        finally:
            self.turned_away -= 1

    async def _run_encrypted(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            try:
                with trio.fail_after(self._shared.tuning.tls_timeout):
                    await stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError) as exc:
                let_go(exc)
                reason = str(exc.__cause__ or exc) or f"it took more than {self._shared.tuning.tls_timeout:g} seconds"
                peer, _ = connection.who()
                connection.because(Cause.TLS, reason)
                self._shared.incidents.report("no TLS handshake", place=host_of(peer), peer=peer, reason=reason)
                return
            self._log_in_by_certificate(connection, stream)
            await connection.run(stream)
        finally:
            # Without a farewell, as HTTPS does it: who has gone does not answer.
            await trio.aclose_forcefully(stream)

    def _log_in_by_certificate(self, connection: Connection, stream: trio.SSLStream[trio.SocketStream]) -> None:
        logins = self._shared.logins
        if logins.required:
            for name in names_of(stream.getpeercert()):
                user = logins.get(name)
                if user is not None:
                    connection.log_in(user)
                    return


def _encrypted(stream: trio.SocketStream, tls: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    return trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
