"""What clients are told of the cluster, of vbuckets, and of errors."""

from __future__ import annotations

import json
import struct
import time

import pytest

from trio_spool.mcbp import Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.data import vbucket_of

EXTRAS = bytes(8)
SCAN = encode_scan_request(ScanRequest())


async def create(raw, name: bytes) -> int:
    return (await raw.call(Opcode.CREATE_BUCKET, key=name)).status


async def select(raw, name: bytes) -> int:
    return (await raw.call(Opcode.SELECT_BUCKET, key=name)).status


async def stat(raw, group: bytes) -> dict[bytes, bytes]:
    await raw.send(encode_request(Opcode.STAT, key=group))
    rows = {}
    while (reply := await raw.receive()).key:
        rows[reply.key] = reply.value
    return rows


# The cluster's configuration


async def test_the_configuration(run_service) -> None:
    listen = ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    started = int(time.time())
    async with run_service(listen=listen, vbuckets=16) as service:
        for index in range(2):
            port = int(service.addresses[index].rsplit(":", 1)[1])
            async with service.connect(index=index) as raw:
                await raw.hello(Feature.JSON)
                reply = await raw.call(Opcode.GET_CLUSTER_CONFIG)
                config = json.loads(reply.value)
                assert (reply.datatype, config["rev"]) == (1, 1)
                assert started <= config["revEpoch"] <= time.time()
                assert [node["services"] for node in config["nodesExt"]] == [{"kv": port}]
                assert not {"name", "vBucketServerMap", "collectionsManifestUid"} & set(config)
                assert await select(raw, b"default") == 0
                config = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG, extras=bytes(16))).value)
                assert (config["name"], config["nodeLocator"], config["collectionsManifestUid"]) == ("default", "vbucket", "0")
                assert len(bytes.fromhex(config["uuid"])) == 16
                assert {"rangeScan", "collections", "xattr"} <= set(config["bucketCapabilities"])
                assert config["vBucketServerMap"]["vBucketMap"] == [[0]] * 16
                assert config["vBucketServerMap"]["serverList"] == [f"$HOST:{port}"]
                assert "mgmt" not in str(config)


async def test_the_configuration_is_each_buckets_own(raw) -> None:
    seen = []
    for name in (b"one", b"two"):
        assert await create(raw, name) == 0
        assert await select(raw, name) == 0
        config = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)
        assert config["name"] == name.decode()
        seen.append(config["uuid"])
    assert len(set(seen)) == 2


async def test_the_configuration_follows_the_manifest(raw) -> None:
    assert await select(raw, b"default") == 0
    manifest = json.loads((await raw.call(Opcode.GET_COLLECTIONS_MANIFEST)).value)
    manifest["uid"] = "1f"
    assert (await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=json.dumps(manifest).encode())).status == 0
    config = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)
    assert (config["rev"], config["collectionsManifestUid"]) == (32, "1f")


# vbuckets


async def test_vbuckets(run_service) -> None:
    async with run_service(vbuckets=8) as service, service.connect() as raw, service.connect() as classic:
        await raw.hello(Feature.JSON, Feature.XERROR)
        assert await select(raw, b"default") == 0
        for number in range(8):
            assert (await raw.call(Opcode.SET, key=b"%d" % number, value=b"v", extras=EXTRAS, vbucket=number)).status == 0
        for opcode in (Opcode.GET, Opcode.SET, Opcode.SUBDOC_MULTI_LOOKUP, Opcode.GET_KEYS):
            await raw.send(raw.plain_frame(opcode, vbucket=8))
            reply = await raw.receive()
            assert (reply.status, reply.datatype) == (Status.NOT_MY_VBUCKET, 1)
            assert len(json.loads(reply.value)["vBucketServerMap"]["vBucketMap"]) == 8
        for opcode, kwargs in ((Opcode.RANGE_SCAN_CREATE, {"value": SCAN}), (Opcode.OBSERVE_SEQNO, {"value": bytes(8)})):
            assert (await raw.call(opcode, vbucket=9, **kwargs)).status == Status.NOT_MY_VBUCKET
        reply = await classic.call(Opcode.GET, key=b"0", vbucket=8)
        assert (reply.status, reply.value) == (Status.NOT_MY_VBUCKET, b"Not my vbucket")
        assert (await classic.call(Opcode.GET, key=b"0")).value == b"v"
        # A scan of a vbucket returns what clients take to that.
        seen = []
        for number in range(8):
            scan = await raw.call(Opcode.RANGE_SCAN_CREATE, value=SCAN, vbucket=number)
            expected = [n for n in range(8) if vbucket_of(b"%d" % n, 8) == number]
            assert scan.status == (0 if expected else Status.NOT_FOUND)
            seen += expected
        assert sorted(seen) == list(range(8))


async def test_observe_seqno(run_service) -> None:
    async with run_service(vbuckets=2) as service, service.connect() as raw:
        await raw.hello(Feature.MUTATION_SEQNO)
        stored = await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS, vbucket=1)
        uuid, seqno = struct.unpack(">QQ", stored.extras)
        assert str(uuid).encode() == (await stat(raw, b"vbucket-details 1"))[b"vb_1:uuid"]
        reply = await raw.call(Opcode.OBSERVE_SEQNO, value=uuid.to_bytes(8, "big"), vbucket=1)
        assert struct.unpack(">BHQQQ", reply.value) == (0, 1, uuid, seqno, seqno)
        reply = await raw.call(Opcode.OBSERVE_SEQNO, value=(uuid ^ 1).to_bytes(8, "big"), vbucket=1)
        assert struct.unpack(">BHQQQQQ", reply.value) == (1, 1, uuid, seqno, seqno, uuid ^ 1, 0)
        assert (await raw.call(Opcode.OBSERVE_SEQNO, value=b"short")).status == Status.INVALID


# The error map


@pytest.mark.parametrize(("asked", "version"), [(1, 1), (2, 2), (3, 2), (65535, 2)])
async def test_the_error_map_lists_every_status(raw, asked: int, version: int) -> None:
    await raw.hello(Feature.JSON)
    reply = await raw.call(Opcode.GET_ERROR_MAP, value=asked.to_bytes(2, "big"))
    content = json.loads(reply.value)
    assert (reply.status, reply.datatype, content["version"]) == (0, 1, version)
    listed = {int(number, 16): error for number, error in content["errors"].items()}
    assert set(listed) == set(Status) - {Status.OK}
    for error in listed.values():
        assert error["name"] and error["desc"] and error["attrs"]
    assert len({error["name"] for error in listed.values()}) == len(listed)


@pytest.mark.parametrize("value", [b"", b"\1", b"\0\0", b"\0\0\1"])
async def test_error_maps_that_are_not_there(raw, value: bytes) -> None:
    assert (await raw.call(Opcode.GET_ERROR_MAP, value=value)).status == Status.INVALID


# Advertised ports


async def services(service, index: int, tls=None) -> dict[str, int]:
    """What a client of a listener is told, in all places where ports stand."""
    async with service.connect(index=index, tls=tls) as raw:
        assert await select(raw, b"default") == 0
        config = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)
    (node,) = config["nodesExt"]
    assert set(node) == {"services", "thisNode"}  # with a host name or alternate addresses, some clients fail
    plain = node["services"].get("kv", 0)
    assert config["vBucketServerMap"]["serverList"] == [f"$HOST:{plain}"]
    assert config["nodes"] == [{"hostname": f"$HOST:{plain}", "ports": {"direct": plain}}]
    return node["services"]


async def test_clients_of_a_mapped_listener_are_told_the_outside_port(run_service, authority) -> None:
    inside, outside = ("tcp://127.0.0.1:0", "tls://127.0.0.1:0"), ("tcp://127.0.0.2:0", "tls://127.0.0.2:0")
    advertise = ("31210:tcp://127.0.0.2:0", "31207:tls://127.0.0.2:0")
    async with run_service(listen=(*inside, *outside), advertise=advertise, **authority.files) as service:
        ports = [int(address.rsplit(":", 1)[1]) for address in service.addresses]
        own = {"kv": ports[0], "kvSSL": ports[1]}
        mapped = {"kv": 31210, "kvSSL": 31207}
        told = [service.inside.port_beside(listener, tls=tls) for listener in service.inside.listeners for tls in (False, True)]
        assert told == 2 * [*own.values()] + 2 * [*mapped.values()]
        assert await services(service, 0) == own
        assert await services(service, 1, authority.client()) == own


async def test_one_mapped_listener_is_no_reason_to_hide_the_other_kind(run_service, authority) -> None:
    listen = ("tcp://127.0.0.1:0", "tls://127.0.0.1:0")
    async with run_service(listen=listen, advertise="31210:tcp://127.0.0.1:0", **authority.files) as service:
        expected = {"kv": 31210, "kvSSL": int(service.addresses[1].rsplit(":", 1)[1])}
        assert await services(service, 0) == expected
        assert await services(service, 1, authority.client()) == expected
        async with service.connect() as raw:
            rows = await stat(raw, b"settings")
            assert rows[b"advertise"] == b"31210:tcp://127.0.0.1:0"
            assert rows[b"tcpport"] == service.addresses[0].rsplit(":", 1)[1].encode()
