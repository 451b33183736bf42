"""Couchbase's SDK on the server of the pytest fixture, which has to answer while the SDK keeps the interpreter."""

from __future__ import annotations

from datetime import timedelta

import pytest

from trio_spool.testing import Server

pytest.importorskip("couchbase")

from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.kv_range_scan import PrefixScan, RangeScan, SamplingScan
from couchbase.options import ClusterOptions


@pytest.mark.parametrize("times", range(2))
def test_scans(trio_spool_server: Server, times: int) -> None:
    login = PasswordAuthenticator(trio_spool_server.username, trio_spool_server.password)
    cluster = Cluster(trio_spool_server.couchbase_connection_string, ClusterOptions(login))
    try:
        cluster.wait_until_ready(timedelta(seconds=10))
        collection = cluster.bucket(trio_spool_server.bucket).default_collection()
        assert list(collection.scan(RangeScan())) == []  # nothing of the test before is left
        keys = [f"k{number:03}" for number in range(200)]
        for key in keys:
            collection.upsert(key, {"key": key})
        assert [found.id for found in collection.scan(RangeScan())] == keys
        assert [found.content_as[dict]["key"] for found in collection.scan(PrefixScan("k01"))] == keys[10:20]
        assert 0 < len(list(collection.scan(SamplingScan(20, 5)))) <= 20
        next(iter(collection.scan(RangeScan())))  # a scan that is left open
    finally:
        cluster.close()
