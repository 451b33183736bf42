"""memcached's exporter for Prometheus finds all that it reads: a reader of the same names, in the protocol that it speaks."""

from __future__ import annotations

from typing import Any

import pytest

from trio_spool.mcbp import Opcode

HIT_OR_MISS = ("get", "delete", "incr", "decr", "cas", "touch")
NUMBERS = (
    "uptime", "time", "cas_badval", "cmd_flush", "cmd_set", "bytes", "limit_maxbytes", "curr_items", "total_items", "bytes_read",
    "bytes_written", "curr_connections", "total_connections", "rejected_connections", "conn_yields", "listen_disabled_num",
    "evictions", "reclaimed", "store_too_large", "store_no_memory", "lru_crawler_starts", "direct_reclaims",
    "crawler_items_checked", "crawler_reclaimed", "moves_to_cold", "moves_to_warm", "moves_within_lru", "total_malloced",
    "accepting_conns", *(f"{command}_{found}" for command in HIT_OR_MISS for found in ("hits", "misses")),
)  # fmt: skip
TIMES = ("rusage_user", "rusage_system")
# It looks for more if it finds one of these.
OTHER_SERVERS = ("extstore_limit_maxbytes", "proxy_backend_total")


async def stats(raw: Any, group: bytes) -> dict[str, str]:
    """Ask as the exporter does, and read as strictly."""
    await raw.stream.send_all(b"stats" + (b" " + group if group else b"") + b"\r\n")
    data = b""
    while not data.endswith(b"END\r\n"):
        more = await raw.stream.receive_some(65536)
        assert more
        data += more
    lines = data.decode("ascii").split("\r\n")[:-2]
    words = [line.split(" ", 2) for line in lines]
    assert all(word[0] == "STAT" and len(word) == 3 for word in words)
    return {name: value for _, name, value in words}


async def test_all_that_it_reads_is_there(run_service) -> None:
    async with run_service() as service:
        async with service.connect() as binary:
            await binary.call(Opcode.SET, key=b"k", extras=bytes(8))
            await binary.call(Opcode.GET, key=b"k")
        async with service.connect() as raw:
            general = await stats(raw, b"")
            for name in NUMBERS:
                assert float(general[name]) >= 0, name
            for name in TIMES:
                seconds, microseconds = general[name].split(".")
                assert int(seconds) >= 0 and len(microseconds) == 6
            assert general["version"]
            assert not set(OTHER_SERVERS) & set(general)
            assert (general["get_hits"], general["cmd_set"], general["accepting_conns"]) == ("1", "1", "1")
            # What is set without a CAS: it subtracts the others.
            assert float(general["cmd_set"]) - sum(float(general[f"cas_{each}"]) for each in ("misses", "hits", "badval")) == 1
            settings = await stats(raw, b"settings")
            assert float(settings["maxconns"]) == service.inside.settings.max_connections
            assert settings.get("lru_crawler", "no") == "no"
            for group, separators in ((b"items", 2), (b"slabs", 1)):
                for name, value in (await stats(raw, group)).items():
                    if name.count(":") == separators:
                        assert name.split(":")[-2].isdecimal()
                        float(value)


@pytest.mark.parametrize("group", [b"", b"settings"])
async def test_both_protocols_say_the_same(run_service, group: bytes) -> None:
    async with run_service() as service:
        async with service.connect() as raw:
            text = await stats(raw, group)
        async with service.connect() as raw:
            binary = {name.decode(): value.decode() for name, value in (await raw.stat(group)).items()}
    assert list(text) == list(binary)
