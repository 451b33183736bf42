"""Thousands of connections that stay: each is answered, at its beginning and at its end, and nothing of them is left."""

from __future__ import annotations

import resource

import pytest

from support.process import running
from support.soaking import Wire, gives_back, held_by, scaled
from trio_spool.mcbp import Opcode, encode_request

CONNECTIONS = scaled(500, 10_000)
# What a silent connection may hold. Measured with 10,000: 16 kB; most of it is Trio's task.
MOST = 64 * 1024


@pytest.mark.timeout(scaled(120, 1200))
def test_connections_are_held_and_given_back() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < CONNECTIONS + 100:
        pytest.skip(f"this process may open {most} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit = str(CONNECTIONS + 10)
    limits = ("--max-connections", limit, "--max-connections-per-address", limit, "--idle-timeout", "inf")
    with running("--listen", "tcp://127.0.0.1:0", "--engine", "memory", *limits) as server:
        with gives_back(server.popen.pid, server.port, memory=2 + CONNECTIONS / 1000) as before:
            wires: list[Wire] = []
            try:
                for _ in range(CONNECTIONS):
                    wires.append(Wire(server.port))
                    assert wires[-1].call(Opcode.NOOP).status == 0
                held = held_by(server.popen.pid)
                assert held.descriptors == before.descriptors + CONNECTIONS
                for_each = (held.memory - before.memory) / CONNECTIONS
                print(f"{for_each / 1024:.1f} kB for each connection, {held.threads} threads")
                assert for_each < MOST
                for number, wire in enumerate(wires):
                    wire.send(encode_request(Opcode.SET, key=b"%d" % number, extras=bytes(8), value=b"v", opaque=number))
                assert [wire.receive().opaque for wire in wires] == list(range(CONNECTIONS))
            finally:
                for wire in wires:
                    wire.socket.close()
        assert server.stop()[0] == 0
