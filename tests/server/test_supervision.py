"""What a process has of its supervisor: sockets of every kind, a watchdog, and news that it may not want to read."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from support.supervising import Receiver
from trio_spool._incidents import Incidents
from trio_spool.engine import EngineFailedError
from trio_spool.server import ListenError, Service, Settings, SettingsError
from trio_spool.server.shared import Stage
from trio_spool.server.supervision import Supervisor, find_supervisor
from trio_spool.server.supervision._activation import inherited_sockets
from trio_spool.server.supervision._notifying import MAX_WAITING, Notifier
from trio_spool.server.supervision._supervisor import NO_WATCHDOG, SHORTEST_MEAL, UNFED, UNUSED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's; abstract sockets are, too")

# The first file descriptor that tests pass: above all that this process has.
FIRST = 700


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path / "notify") as receiver:
        yield receiver


@pytest.fixture
def inherit():
    """Returns what is found if these files have been passed."""
    with ExitStack() as stack:

        def inherit(*files, names: str | None = None, **variables: str):
            for number, file in enumerate(files, FIRST):
                os.dup2(stack.enter_context(file).fileno(), number, inheritable=True)
                stack.callback(close, number)
            environ = {"LISTEN_FDS": str(len(files)), "LISTEN_PID": str(os.getpid()), "OTHER": "1", **variables}
            if names is not None:
                environ["LISTEN_FDNAMES"] = names
            try:
                found = inherited_sockets(environ, FIRST)
            finally:
                assert environ == {"OTHER": "1"}
            for each in found:
                stack.enter_context(each.socket)
            return found

        yield inherit


def close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # it was closed by who had it last


def tcp(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def unix(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen()
    return made


# Sockets


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_tcp(inherit, host: str) -> None:
    (found,) = inherit(listener := tcp(host))
    shown = f"[{host}]" if ":" in host else host
    assert str(found.address) == f"tcp://{shown}:{listener.getsockname()[1]}"
    assert found.address.is_loopback == (host in ("127.0.0.1", "::1"))
    assert found.socket.fileno() == FIRST
    assert not os.get_inheritable(FIRST)


def test_unix(inherit, tmp_path) -> None:
    path, name = str(tmp_path / "s"), f"trio-spool-{os.getpid()}"
    assert [str(found.address) for found in inherit(unix(path), unix("\0" + name))] == [f"unix:{path}", f"unix:@{name}"]


@pytest.mark.parametrize(
    ("names", "encrypted"),
    [
        (None, [False, False]),
        ("", [False, False]),
        ("tls", [True, False]),
        ("kv:tls", [False, True]),
        ("tls-inside:tls-outside:more", [True, True]),
        ("tlsish:TLS", [False, False]),
    ],
)
def test_tls_by_name(inherit, names: str | None, encrypted: list[bool]) -> None:
    assert [found.address.tls for found in inherit(tcp(), tcp(), names=names)] == encrypted


def test_tls_by_an_address_with_the_port(inherit) -> None:
    found = inherit(first := tcp(), second := tcp())
    ports = [each.getsockname()[1] for each in (first, second)]
    supervisor = Supervisor(sockets=found)
    listen = (f"tls://localhost:{ports[1]}", f"tcp://127.0.0.1:{ports[0]}", "tcp://127.0.0.1:1", "unix:/somewhere")
    assert supervisor.addresses(listen) == (f"tcp://127.0.0.1:{ports[0]}", f"tls://127.0.0.1:{ports[1]}")
    supervisor.note_unused(listen)
    assert supervisor.complaints == [(UNUSED, {"addresses": "tcp://127.0.0.1:1 unix:/somewhere"})]
    with pytest.raises(SettingsError, match="an address is"):
        supervisor.addresses(("nonsense",))


def test_without_sockets_all_addresses_are_used() -> None:
    listen = ("tcp://127.0.0.1:1", "nonsense")  # which is found elsewhere
    assert Supervisor().addresses(listen) == listen
    supervisor = Supervisor()
    supervisor.note_unused(listen)
    assert not supervisor.complaints


def datagram() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def bound() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


def sequence() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.bind(f"\0trio-spool-packets-{os.getpid()}")
    made.listen()
    return made


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (datagram, "is not a stream socket: use ListenStream="),
        (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), "is not a stream socket: use ListenStream="),
        (sequence, "is not a stream socket: use ListenStream="),
        (bound, "does not listen: is it a connection"),
        (lambda: socket.socketpair()[0], "does not listen: is it a connection"),
        (Path(os.devnull).open, "is not a socket: use ListenStream="),
        (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), "is neither a TCP socket nor a Unix domain socket"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the other end of the pair
def test_what_cannot_be_listened_on_is_refused(inherit, make, why: str) -> None:
    message = rf"file descriptor {FIRST + 1} \(other\), which the supervisor has passed, {why}"
    with pytest.raises(ListenError, match=message):
        inherit(tcp(), make(), names="kv:other")


def test_a_unix_socket_has_no_tls(inherit) -> None:
    with pytest.raises(ListenError, match="have no TLS"):
        inherit(unix(f"\0trio-spool-{os.getpid()}"), names="tls")


@pytest.mark.parametrize("name", ["metrics", "management-inside"])
def test_a_socket_for_others_than_clients_is_not_served_to_clients(inherit, name: str) -> None:
    with pytest.raises(
        ListenError, match=f"would be for clients: leave it out, and give the address with --{name.partition('-')[0]}"
    ):
        inherit(tcp(), names=name)


def test_a_socket_that_was_not_passed(inherit) -> None:
    with pytest.raises(ListenError, match=f"file descriptor {FIRST + 1}, which the supervisor has passed, is not open"):
        inherit(tcp(), LISTEN_FDS="2")


@pytest.mark.parametrize("pid", ["1", "", "0"])
def test_sockets_that_are_not_for_this_process_are_not_touched(inherit, pid: str) -> None:
    assert inherit(tcp(), LISTEN_PID=pid) == []
    assert os.get_inheritable(FIRST)


def test_no_sockets(inherit) -> None:
    assert inherit(LISTEN_FDS="0") == inherit(LISTEN_FDS="") == []


@pytest.mark.parametrize(
    "variables",
    [
        {"LISTEN_FDS": "many"},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "1.5"},
        {"LISTEN_FDS": "9" * 5000},
        {"LISTEN_FDS": "²"},
        {"LISTEN_PID": "me"},
    ],
)
def test_malformed_variables(inherit, variables) -> None:
    with pytest.raises(ListenError, match="must be a number"):
        inherit(tcp(), **variables)


def test_more_sockets_than_there_can_be(inherit) -> None:
    with pytest.raises(ListenError, match="at most 1024"):
        inherit(tcp(), LISTEN_FDS="1000000000")


# News


@pytest.mark.parametrize("address", ["relative", "vsock:2:1234", "/nobody/is/there", "@nobody-is-there", "/" + "x" * 200])
async def test_a_supervisor_that_cannot_be_told_is_one_line(address: str) -> None:
    with structlog.testing.capture_logs() as logs:
        notifier = Notifier(address)
        for _ in range(3):
            notifier.tell(ready=1)
    (line,) = logs
    assert line["notify_socket"] == address
    assert line["log_level"] == "warning"


async def test_one_that_can_be_told_again_is_another_line_when_it_fails_again(receiver) -> None:
    with structlog.testing.capture_logs() as logs:
        notifier = Notifier(receiver.address)
        os.rename(receiver.address, receiver.address + "2")
        notifier.tell(watchdog=1)
        os.rename(receiver.address + "2", receiver.address)
        notifier.tell(watchdog=1)
        assert receiver.receive() == {"WATCHDOG": "1"}
        os.unlink(receiver.address)
        notifier.tell(watchdog=1)
    assert len(logs) == 2


async def test_news_have_no_line_of_their_own(receiver) -> None:
    Notifier(receiver.address).tell(status="two\nREADY=1 lines\udc80", ready=0)
    assert receiver.receive() == {"STATUS": "two READY=1 lines?", "READY": "0"}


async def test_a_supervisor_that_does_not_read_gets_it_later(receiver, mock_clock) -> None:
    """The system keeps some datagrams for it. What it has no room for waits, in order, and the rest is dropped."""
    notifier, told = Notifier(receiver.address), 0
    with structlog.testing.capture_logs() as logs:
        while not logs:
            notifier.tell(status=told)
            told += 1
        at_once = told - 1
        for _ in range(2 * MAX_WAITING):
            notifier.tell(status=told)
            told += 1
    assert len(logs) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run)
        await trio.testing.wait_all_tasks_blocked()
        got = [int(receiver.receive()["STATUS"]) for _ in range(at_once)]
        receiver.socket.setblocking(False)
        while len(got) < at_once + MAX_WAITING:
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked()
            try:
                while True:
                    got.append(int(receiver.receive()["STATUS"]))
            except BlockingIOError:
                pass
        notifier.tell(status="and again at once")
        assert receiver.receive() == {"STATUS": "and again at once"}
        nursery.cancel_scope.cancel()
    assert got == list(range(at_once + MAX_WAITING))


# A service


class Stuck:
    """What a supervisor looks at of a service: buckets whose writers may be stuck."""

    def __init__(self, seconds: float | None = 30) -> None:
        self._seconds = seconds
        self.incidents = Incidents(lambda *_: None)
        self.buckets = self
        self.names: list[str] = []

    def stuck(self, seconds: float) -> list[str]:
        assert self._seconds in (None, seconds)
        return self.names


async def test_the_watchdog_is_fed_while_no_writer_is_stuck(receiver, mock_clock) -> None:
    inside = Stuck()
    receiver.socket.setblocking(False)
    supervisor = Supervisor(Notifier(receiver.address), 60)

    async def fed(seconds: float) -> int:
        meals = 0
        for _ in range(int(seconds)):
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked()
            try:
                while True:
                    assert receiver.receive() == {"WATCHDOG": "1"}
                    meals += 1
            except BlockingIOError:
                pass
        return meals

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, inside)
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.receive() == {"WATCHDOG": "1"}
        assert await fed(60) == 4
        inside.names = ["one", "two"]
        assert await fed(120) == 0
        assert inside.incidents.counts()[UNFED] > 2
        inside.names = []
        assert await fed(60) == 4
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "variables", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "me"}]
)
async def test_a_watchdog_that_is_no_number_is_one_line(service, variables) -> None:
    supervisor = find_supervisor(environ := dict(variables))
    assert not environ
    with structlog.testing.capture_logs() as logs:
        supervisor.follow(service.inside)
    assert [line["event"] for line in logs] == [NO_WATCHDOG]


@pytest.mark.parametrize(("pid", "meals"), [("1", 0), ("mine", 1), (None, 1)])
async def test_the_watchdog_of_another_process_is_not_fed(receiver, service, pid: str | None, meals: int) -> None:
    environ = {
        "NOTIFY_SOCKET": receiver.address,
        "WATCHDOG_USEC": "60000000",
    }
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "mine" else pid
    supervisor = find_supervisor(environ)
    assert not environ
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, service.inside)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    supervisor.failed("the end")
    assert [receiver.receive() for _ in range(meals + 1)][-1] == {"STATUS": "The storage has failed: the end"}


async def test_why_the_storage_has_failed_is_the_last_that_is_told(receiver, run_service) -> None:
    async with run_service() as service:
        supervisor = Supervisor(Notifier(receiver.address))
        supervisor.follow(service.inside)
        service.inside.life.enter(Stage.DRAINING)
        supervisor.failed(EngineFailedError("the disk is gone"))
    assert receiver.receive()["STATUS"] == "Opening the data"
    assert receiver.receive()["STOPPING"] == "1"
    assert receiver.receive() == {"STATUS": "The storage has failed: the disk is gone"}


async def test_a_watchdog_of_a_microsecond_does_not_keep_the_loop_busy(receiver, mock_clock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(Notifier(receiver.address), 1e-6).run, Stuck(None))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SHORTEST_MEAL / 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert receiver.receive() == {"WATCHDOG": "1"}
    receiver.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.receive()


async def test_sockets_stay_open_when_a_service_ends() -> None:
    """A program may run one service after the other with them."""
    with tcp() as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings(listen=(address,), engine="memory")
        for _ in range(2):
            stop = trio.Event()
            stop.set()
            with trio.fail_after(20):
                await Service(settings, sockets=[listener]).run(stop=stop)
        with socket.create_connection(listener.getsockname(), timeout=20):
            pass
