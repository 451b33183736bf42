"""How many connections there may be, in all and from one address; and what a client is told for which there is no place."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from support.service import Raw
from trio_spool.mcbp import Feature, Opcode, Status, encode_request
from trio_spool.server import Settings
from trio_spool.server._keepalive import keep_alive
from trio_spool.server._turning_away import MAX_TOLD
from trio_spool.server.shared import Admission, Tuning, counted_as

# Long enough on a busy machine: what is tested does not wait for the end of it.
PATIENT = Tuning(farewell=30)
QUICK = Tuning(farewell=0.2)


async def told(service, tls=None, text: bytes = b"Too many connections from this address") -> None:
    """Connect, ask for something, and be told that there is no place."""
    async with service.connect(tls) as raw:
        await raw.send(encode_request(Opcode.SASL_LIST_MECHS, opaque=5), encode_request(Opcode.NOOP, opaque=6))
        reply = await raw.receive()
        assert (reply.opcode, reply.opaque, reply.status, reply.value) == (
            Opcode.SASL_LIST_MECHS,
            5,
            Status.TEMPORARY_FAILURE,
            text,
        )
        assert await raw.closed()
    async with service.connect(tls) as raw:
        assert (await raw.call(Opcode.HELLO, key=b"some client", value=b"\0\7")).status == Status.TEMPORARY_FAILURE


async def test_further_connections_of_an_address_are_told_so(run_service) -> None:
    with structlog.testing.capture_logs() as logs:
        async with run_service(max_connections_per_address=2, tuning=PATIENT) as service:
            async with service.connect() as one, service.connect() as two:
                assert (await one.call(Opcode.NOOP)).status == (await two.call(Opcode.NOOP)).status == 0
                for _ in range(5):
                    await told(service)
                assert (await one.call(Opcode.NOOP)).status == 0
                assert service.inside.counters.rejected_connections == 10
            while len(service.inside.connections):
                await trio.sleep(0.001)
            assert len(service.inside.admission) == 0
            async with service.connect() as again:
                assert (await again.call(Opcode.NOOP)).status == 0
    entry, end = logs
    assert end["times"] == 10
    assert (entry["event"], entry["limit"]) == ("connections of an address are refused: it has too many", 2)
    assert entry["hint"] == "raise --max-connections-per-address"
    assert entry["peer"].startswith("127.0.0.1:")


async def test_the_answer_arrives_although_the_client_goes_on_sending(run_service) -> None:
    """A socket that is closed with unread data resets the connection, and the client's system throws the answer away."""
    async with run_service(max_connections=1, tuning=PATIENT) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        async with service.connect() as other:
            await other.send(encode_request(Opcode.NOOP, opaque=3))
            await other.send(bytes(500_000))
            await trio.testing.wait_all_tasks_blocked(0.02)
            reply = await other.receive()
            assert (reply.opaque, reply.status) == (3, Status.TEMPORARY_FAILURE)
            assert await other.closed()


async def test_another_address_has_places_of_its_own(run_service) -> None:
    async with run_service(max_connections_per_address=1, tuning=PATIENT) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        stream = await trio.open_tcp_stream("127.0.0.1", service.port, local_address="127.0.0.2")
        async with stream:
            assert (await Raw(stream).call(Opcode.NOOP)).status == 0
        await told(service)


async def test_the_statistics_count_addresses(run_service) -> None:
    async with run_service() as service, service.connect() as raw, service.connect() as same:
        assert (await same.call(Opcode.NOOP)).status == 0
        stream = await trio.open_tcp_stream("127.0.0.1", service.port, local_address="127.0.0.2")
        async with stream:
            assert (await Raw(stream).call(Opcode.NOOP)).status == 0
            shown = await raw.stat()
            assert (shown[b"curr_addresses"], shown[b"curr_connections_of_busiest_address"]) == (b"2", b"2")


async def test_an_ipv6_network_counts_as_one_address(run_service) -> None:
    try:
        async with run_service(listen=("tcp://[::1]:0",), max_connections_per_address=1, tuning=PATIENT) as service:
            streams = [await trio.open_tcp_stream("::1", service.port) for _ in range(2)]
            async with streams[0], streams[1]:
                assert (await Raw(streams[0]).call(Opcode.NOOP)).status == 0
                assert (await Raw(streams[1]).call(Opcode.NOOP)).status == Status.TEMPORARY_FAILURE
    except OSError:
        pytest.skip("no IPv6 here")


async def test_clients_of_a_unix_socket_have_no_address(run_service, tmp_path) -> None:
    path = tmp_path / "socket"
    listen = ("tcp://127.0.0.1:0", f"unix:{path}")
    async with run_service(listen=listen, max_connections_per_address=1) as service:
        streams = [await trio.open_unix_socket(path) for _ in range(3)]
        for stream in streams:
            assert (await Raw(stream).call(Opcode.NOOP)).status == 0
        assert service.inside.admission.busiest() == 0
        for stream in streams:
            await stream.aclose()


async def test_further_connections_in_all_are_told_so(run_service) -> None:
    async with run_service(max_connections=1, tuning=PATIENT) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        await told(service, text=b"Too many connections")


async def test_they_are_told_by_tls_as_well(run_service, authority) -> None:
    listen = ("tcp://127.0.0.1:0", "tls://127.0.0.1:0")
    async with (
        run_service(listen=listen, max_connections=1, tuning=PATIENT, **authority.files) as service,
        service.connect() as raw,
    ):
        assert (await raw.call(Opcode.NOOP)).status == 0
        async with service.connect(authority.client(), index=1) as other:
            reply = await other.call(Opcode.NOOP, opaque=9)
            assert (reply.opaque, reply.status) == (9, Status.TEMPORARY_FAILURE)


async def test_couchbase_s_sdks_are_closed_without_a_word(run_service) -> None:
    """They take an error in reply to their first request for final, and try again if the connection is closed."""
    async with run_service(max_connections=1, tuning=PATIENT) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        async with service.connect() as sdk:
            hello = encode_request(Opcode.HELLO, key=b'{"a":"cxx/1.3.3","i":"5a/7"}', value=b"\0\7")
            await sdk.send(hello[:24])
            await trio.testing.wait_all_tasks_blocked()
            await sdk.send(hello[24:], encode_request(Opcode.SASL_LIST_MECHS))
            assert await sdk.closed()


@pytest.mark.parametrize("sent", [b"", b"\x80", encode_request(Opcode.NOOP)[:23]])
async def test_who_says_nothing_that_can_be_answered_is_closed_without_a_word(run_service, sent: bytes) -> None:
    async with run_service(max_connections=1, tuning=QUICK) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        async with service.connect() as other:
            await other.stream.send_all(sent)
            assert await other.closed()


async def test_clients_of_the_text_protocol_are_told(run_service) -> None:
    async with run_service(max_connections=1, tuning=QUICK) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        async with service.connect() as other:
            await other.stream.send_all(b"get k\r\n")
            assert await other.rest() == b"SERVER_ERROR Too many connections\r\n"


async def test_so_many_are_told_at_one_time_and_no_more(run_service) -> None:
    """Whoever is told holds a task and a descriptor for a moment; there is a bound on these, too."""
    async with run_service(max_connections=1, tuning=Tuning(farewell=60), drain_timeout=0) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        streams = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(MAX_TOLD)]
        while service.service.reception.turned_away < MAX_TOLD:
            await trio.sleep(0.001)
        async with service.connect() as further:
            assert await further.closed()
        await streams[0].send_all(encode_request(Opcode.NOOP))
        assert (await Raw(streams[0]).receive()).status == Status.TEMPORARY_FAILURE
        for stream in streams:
            await trio.aclose_forcefully(stream)
        while service.service.reception.turned_away:
            await trio.sleep(0.001)


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", ""),
        ("gone", ""),
        ("", ""),
    ],
)
def test_as_what_an_address_counts(host: str, counted: str) -> None:
    assert counted_as(host) == counted


def test_places_are_given_back() -> None:
    admission, settings = Admission(), Settings(max_connections_per_address=2, max_connections=3)
    for _ in range(2):
        assert admission.refusal("a", 0, settings) is None
        admission.enter("a")
    assert admission.refusal("a", 2, settings).option == "--max-connections-per-address"
    assert admission.refusal("b", 2, settings) is None
    assert admission.refusal("b", 3, settings).option == "--max-connections"
    admission.leave("a")
    assert admission.refusal("a", 1, settings) is None
    admission.leave("a")
    assert len(admission) == 0


# TCP keepalive


async def test_keepalive() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0], await trio.open_tcp_stream(*listeners[0].socket.getsockname()) as stream:
        keep_alive(stream, 90)
        options = stream.socket
        assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":
            assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 90
            assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 30
            assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        keep_alive(stream, float("inf"))
        assert not options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def timer_of(port: int) -> tuple[int, float]:
    """Return the kind of timer that Linux runs for a server's connection, and the seconds until it fires."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[1].rpartition(":")[2], 16) == port:
            kind, when = fields[5].split(":")
            return int(kind, 16), int(when, 16) / 100
    raise AssertionError("no such connection")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [1000.0, float("inf")])
async def test_the_system_asks_whether_silent_clients_are_still_there(run_service, seconds: float) -> None:
    async with run_service(keepalive=seconds) as service, service.connect() as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0
        with trio.fail_after(20):
            while timer_of(service.port)[0] == 1:  # it waits for an acknowledgement
                await trio.sleep(0.01)
        kind, when = timer_of(service.port)
        assert (kind, 900 < when <= 1000) == ((2, True) if seconds == 1000 else (0, False))


async def test_the_limits_are_shown(run_service) -> None:
    async with run_service(max_connections_per_address=7) as service, service.connect() as raw:
        await raw.hello(Feature.XERROR)
        shown = await raw.stat(b"settings")
        assert shown[b"max_connections_per_address"] == b"7"
        assert shown[b"max_buffered"] == b"1073741824"
        general = await raw.stat()
        for name in (b"rejected_connections", b"idle_kicks", b"login_kicks", b"frame_kicks", b"rate_kicks", b"buffer_kicks"):
            assert general[name] == b"0"
