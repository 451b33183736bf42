"""What a client can cause again and again is one line in the log when it begins and one when it ends, with a count."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from support.clocks import Clock
from trio_spool._incidents import QUIET, Incidents
from trio_spool.mcbp import Opcode, encode_request
from trio_spool.server._listening import BoundListener
from trio_spool.server.settings import TcpAddress
from trio_spool.server.shared import Listener, Tuning

EXTRAS = bytes(8)
TIMES = 20


def tuning(clock: Clock) -> Tuning:
    return Tuning(clock=clock, housekeeping=0.01, tls_timeout=0.01, farewell=0.01)


async def over(logs: list[dict[str, object]], clock: Clock) -> dict[str, object]:
    """Let the incidents end, and return what the log says of that."""
    clock.now += QUIET
    with trio.fail_after(20):
        while not (ends := [line for line in logs if str(line["event"]).endswith(": over")]):
            await trio.sleep(0.001)
    (end,) = ends
    return end


async def times(number: int, cause: Callable[[], object]) -> None:
    for _ in range(number):
        await cause()


async def test_unread_replies_and_then_bad_bytes(run_service, clock) -> None:
    with capture_logs() as logs:
        async with run_service(tuning=tuning(clock)) as service:
            async with service.connect() as raw:
                assert (await raw.call(Opcode.SET, key=b"k", value=bytes(3_000_000), extras=EXTRAS)).status == 0

            async def cause() -> None:
                async with service.connect() as raw:
                    await raw.send(encode_request(Opcode.GET, key=b"k"), encode_request(Opcode.NOOP), bytes(30))

            await times(TIMES, cause)
            await until_gone(service)
            assert [line["event"] for line in logs] == ["bytes that are no request"]
            assert str(logs[0]["peer"]).startswith("127.0.0.1:")
            assert (await over(logs, clock))["times"] == TIMES


async def until_gone(service) -> None:
    with trio.fail_after(20):
        while len(service.inside.connections):
            await trio.sleep(0.001)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"\x81" + bytes(3000), "bytes that are no request"),
        (encode_request(Opcode.NOOP) + bytes(24), "bytes that are no request"),
        (b"\x80\x01\xff\xff" + bytes(20), "bytes that are no request"),
    ],
    ids=["a response", "zeros", "a key longer than the body"],
)
async def test_what_is_not_understood(run_service, clock, data: bytes, event: str) -> None:
    with capture_logs() as logs:
        async with run_service(tuning=tuning(clock)) as service:

            async def cause() -> None:
                async with service.connect() as raw:
                    await raw.send(data)
                    await raw.closed()

            await times(TIMES, cause)
            await until_gone(service)
            assert [line["event"] for line in logs] == [event]
            end = await over(logs, clock)
            assert (end["event"], end["times"], end["place"]) == (f"{event}: over", TIMES, "127.0.0.1")


async def test_the_maximum_of_connections(run_service, clock) -> None:
    with capture_logs() as logs:
        async with run_service(max_connections=1, tuning=tuning(clock)) as service:

            async def cause() -> None:
                async with service.connect() as another:
                    assert await another.closed()

            async with service.connect() as raw:
                await raw.call(Opcode.NOOP)
                await times(TIMES, cause)
                assert [line["limit"] for line in logs] == [1]
            await until_gone(service)
            assert (await over(logs, clock))["times"] == TIMES


async def test_handshakes_that_fail(run_service, authority, clock) -> None:
    with capture_logs() as logs:
        async with run_service(listen=("tls://127.0.0.1:0",), **authority.files, tuning=tuning(clock)) as service:

            async def cause() -> None:
                async with service.connect() as raw:
                    await raw.send(b"no handshake at all")
                    await raw.closed()

            await times(TIMES, cause)
            await until_gone(service)
            assert [(line["event"], line["log_level"]) for line in logs] == [("no TLS handshake", "warning")]
            assert (await over(logs, clock))["times"] == TIMES


async def test_clients_that_do_not_read(run_service, clock) -> None:
    with capture_logs() as logs:
        async with run_service(send_timeout=0.05, tuning=tuning(clock)) as service:
            async with service.connect() as raw:
                assert (await raw.call(Opcode.SET, key=b"k", value=bytes(3_000_000), extras=EXTRAS)).status == 0
            await until_gone(service)

            async def cause() -> None:
                async with service.connect() as raw:
                    await raw.send(*[encode_request(Opcode.GET, key=b"k")] * 10)
                    with trio.fail_after(20):
                        while not len(service.inside.connections):
                            await trio.sleep(0.001)
                    await until_gone(service)

            await times(3, cause)
            assert [line["event"] for line in logs] == ["client does not read"]
            assert (await over(logs, clock))["times"] == 3


@attrs.define
class FullTable:
    """A listener that has no descriptors, then some, then none."""

    results: list[OSError | trio.SocketStream]
    done: trio.Event = attrs.field(factory=trio.Event)

    async def __aenter__(self) -> FullTable:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def accept(self) -> trio.SocketStream:
        if not self.results:
            self.done.set()
            await trio.sleep_forever()
        result = self.results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM])
async def test_no_descriptors(autojump_clock, number: int) -> None:
    lines: list[tuple[str, dict[str, object]]] = []
    incidents = Incidents(lambda level, event, details, error: lines.append((event, details)), trio.current_time)
    stream = trio.SocketStream(trio.socket.socket())
    listener = FullTable([*[OSError(number, os.strerror(number))] * 50, stream])
    served: list[trio.SocketStream] = []

    async def handle(stream: trio.SocketStream) -> None:
        served.append(stream)

    async with trio.open_nursery() as nursery:
        address = TcpAddress("127.0.0.1", 1, False)
        nursery.start_soon(BoundListener(address, listener, Listener()).accept, handle, nursery, incidents)
        await listener.done.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert served == [stream]
        assert stream.socket.fileno() == -1  # closed after it was served
        incidents.look()
        assert [event for event, _ in lines] == ["connections can't be accepted"]
        await trio.sleep(QUIET)
        incidents.look()
        assert [event for event, _ in lines[1:]] == ["connections can't be accepted: over"]
        assert lines[1][1]["times"] == 50
        nursery.cancel_scope.cancel()
