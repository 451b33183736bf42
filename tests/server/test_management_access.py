"""The management port: who may do what, and to whom the configuration names it."""

from __future__ import annotations

import json

import pytest
import trio

from support.managing import basic, managing, port_of
from support.users import ANN, BOB, EVE, user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Opcode
from trio_spool.server import Settings, SettingsError
from trio_spool.server.shared import Entrance, Listener, Tuning, find_entrance

MANAGEMENT = "tcp://127.0.0.1:0"
BUCKETS = "/pools/default/buckets"
OWNER = user("owner", buckets={"orders": [Role.ADMIN]})


@pytest.fixture
def users_file(tmp_path):
    return write_users(tmp_path / "users.json", ANN, BOB, EVE, OWNER, secret=bytes(32))


@pytest.fixture
async def service(run_service, users_file):
    async with run_service(management=MANAGEMENT, users=users_file, tuning=Tuning(first_refusal=0.0)) as served:
        async with managing(served, "ann") as manager:
            assert (await manager.ask("POST", BUCKETS, {"name": "orders", "flushEnabled": 1})).status == 202
        yield served


async def test_nobody_asks_without_a_password(service) -> None:
    async with managing(service) as manager:
        answer = await manager.ask("GET", BUCKETS)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="trio-spool"')
        for authorization in (basic("ann", "wrong"), basic("nobody"), basic("ann", ""), "Bearer abc", "Basic", "Basic ="):
            status = (await manager.ask("GET", BUCKETS, Authorization=authorization)).status
            assert status in (400, 401), authorization
        assert (await manager.ask("GET", "/")).status == 200  # an SDK's ping needs no rights
        assert (await manager.ask("GET", BUCKETS, Authorization=basic("ann"))).status == 200
    assert service.inside.counters.auth_errors == 3


async def test_refusals_are_told_later_each_time_on_a_connection(run_service, users_file) -> None:
    """A refusal waits for the delay of a login: it has not come while the server sleeps, by a limit that no test reaches."""
    tuning = Tuning(first_refusal=3600.0, max_refusal=3600.0)
    async with run_service(management=MANAGEMENT, users=users_file, tuning=tuning) as served:
        async with managing(served, "nobody") as manager:
            with trio.move_on_after(0.5) as scope:
                await manager.ask("GET", BUCKETS)
            assert scope.cancelled_caught
        async with managing(served, "ann") as manager:
            assert (await manager.ask("GET", BUCKETS)).status == 200


async def test_a_password_is_checked_once_on_a_connection(service) -> None:
    before = service.inside.counters.auth_cmds
    async with managing(service, "ann") as manager:
        for _ in range(5):
            assert (await manager.ask("GET", BUCKETS)).status == 200
        assert service.inside.counters.auth_cmds == before + 1
        assert (await manager.ask("GET", BUCKETS, Authorization=basic("ann", "wrong"))).status == 401
        assert (await manager.ask("GET", BUCKETS)).status == 200
        assert service.inside.counters.auth_cmds == before + 3


async def test_a_user_who_is_removed_is_out_at_once(service, users_file) -> None:
    async with managing(service, "eve") as manager:
        assert (await manager.ask("GET", BUCKETS)).status == 200
        write_users(users_file, ANN)
        service.service.reload_users()
        assert (await manager.ask("GET", BUCKETS)).status == 401


ASKED = [
    ("GET", BUCKETS, None),
    ("GET", f"{BUCKETS}/orders", None),
    ("GET", f"{BUCKETS}/orders/scopes", None),
    ("POST", f"{BUCKETS}/orders/scopes", {"name": "s"}),
    ("POST", f"{BUCKETS}/orders/scopes/s/collections", {"name": "c"}),
    ("PATCH", f"{BUCKETS}/orders/scopes/s/collections/c", {"maxTTL": 1}),
    ("DELETE", f"{BUCKETS}/orders/scopes/s/collections/c", None),
    ("DELETE", f"{BUCKETS}/orders/scopes/s", None),
    ("POST", f"{BUCKETS}/orders/controller/doFlush", None),
    ("POST", f"{BUCKETS}/orders", {"ramQuotaMB": 100}),
    ("GET", f"{BUCKETS}/default", None),
    ("POST", f"{BUCKETS}/default/scopes", {"name": "s"}),
    ("POST", BUCKETS, {"name": "new"}),
    ("DELETE", f"{BUCKETS}/orders", None),
]


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("ann", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 202, 200]),
        ("owner", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 403, 403]),
        ("bob", [200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 404, 404, 403, 403]),
        ("eve", [200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 200, 403, 403, 403]),
    ],
)
async def test_roles_hold(service, name: str, statuses: list[int]) -> None:
    async with managing(service, name) as manager:
        assert [(await manager.ask(*asked)).status for asked in ASKED] == statuses


async def test_a_user_sees_only_buckets_of_their_own(service) -> None:
    async with managing(service, "bob") as manager:
        assert [bucket["name"] for bucket in await manager.get(BUCKETS)] == ["orders"]
        assert [bucket["bucketName"] for bucket in (await manager.get("/pools/default"))["bucketNames"]] == ["orders"]
        assert await manager.refused("POST", f"{BUCKETS}/orders/scopes", {"name": "s"}) == (
            403,
            "the user 'bob' lacks the role admin here",
        )


async def test_tls_and_certificates(run_service, users_file, authority) -> None:
    settings = {
        "listen": ("tcp://127.0.0.1:0", "tls://127.0.0.1:0"),
        "management": ("tcp://127.0.0.1:0", "tls://127.0.0.1:0"),
        "tls_client_ca": authority.ca_file,
        "users": users_file,
        **authority.files,
    }
    async with run_service(**settings) as served:
        async with managing(served, tls=authority.client(), index=1) as manager:
            assert (await manager.ask("GET", BUCKETS)).status == 401
            assert (await manager.ask("GET", BUCKETS, Authorization=basic("ann"))).status == 200
        async with managing(served, tls=authority.client("127.0.0.1", name="ann"), index=1) as manager:
            assert (await manager.ask("POST", BUCKETS, {"name": "orders"})).status == 202
        async with served.connect(authority.client(), index=1) as raw:
            await raw.login("ann", "pencil")
            (node,) = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)["nodesExt"]
            plain, encrypted = port_of(served, 0), port_of(served, 1)
            assert (node["services"]["mgmt"], node["services"]["mgmtSSL"]) == (plain, encrypted)


async def test_the_advertised_port_is_told_to_those_outside(run_service) -> None:
    listen = ("tcp://127.0.0.1:0", "tcp://localhost:0")
    advertise = ("31210:tcp://localhost:0", "38091:tcp://127.0.0.2:0")
    async with run_service(listen=listen, management="tcp://127.0.0.2:0", advertise=advertise) as served:
        seen = []
        for index in range(2):
            async with served.connect(index=index) as raw:
                (node,) = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)["nodesExt"]
                seen.append(node["services"])
        assert seen == [{"kv": served.port, "mgmt": port_of(served)}, {"kv": 31210, "mgmt": 38091}]


INSIDE, OUTSIDE = Listener(11210), Listener(31210, mapped=True)


@pytest.mark.parametrize(
    ("entrances", "listener", "peer", "port"),
    [
        ([], INSIDE, "127.0.0.1:1", 0),
        ([Entrance(8091)], INSIDE, "192.0.2.1:1", 8091),
        ([Entrance(8091)], OUTSIDE, "192.0.2.1:1", 0),  # nobody has said how it is reached from there
        ([Entrance(8091, 38091)], OUTSIDE, "192.0.2.1:1", 38091),
        ([Entrance(8091, 38091)], INSIDE, "192.0.2.1:1", 8091),
        ([Entrance(8091, local=True)], INSIDE, "192.0.2.1:1", 0),
        ([Entrance(8091, local=True)], INSIDE, "127.0.0.1:1", 8091),
        ([Entrance(8091, local=True)], INSIDE, "[::1]:1", 8091),
        ([Entrance(8091, local=True)], INSIDE, "[::ffff:127.0.0.1]:1", 8091),
        ([Entrance(8091, local=True)], INSIDE, "[::ffff:192.0.2.1]:1", 0),
        ([Entrance(8091, local=True), Entrance(8092)], INSIDE, "192.0.2.1:1", 8092),
        ([Entrance(8091, local=True)], Listener(), "unix", 8091),
        ([Entrance(18091, tls=True)], INSIDE, "127.0.0.1:1", 0),
    ],
)
def test_a_port_is_named_only_to_those_who_can_reach_it(entrances, listener, peer, port) -> None:
    assert find_entrance(entrances, listener, peer, tls=False) == port


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"management": "8091"}, "can't listen on '8091': an address is tcp://HOST:PORT"),
        (
            {"management": "tcp://0.0.0.0:8091"},
            "tcp://0.0.0.0:8091 can be reached from other machines, and no authentication is set up",
        ),
        ({"management": "tls://127.0.0.1:8091"}, "tls://127.0.0.1:8091 needs a certificate and its key"),
        ({"management": "tcp://127.0.0.1:11210"}, "can't listen on tcp://127.0.0.1:11210 twice"),
        (
            {"management": "tcp://127.0.0.1:8091", "advertise": "5:9"},
            "the listeners are tcp://127.0.0.1:11210, tcp://127.0.0.1:8091",
        ),
    ],
)
def test_settings_that_do_not_fit(values, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(engine="memory", **values)
    assert message in str(caught.value)


def test_nothing_listens_by_default() -> None:
    assert Settings(engine="memory").management == ()
