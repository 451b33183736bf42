"""A server gets no larger by clients that have left, whatever they had in flight."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from support.process import running
from support.soaking import Wire, held_by, scaled
from trio_spool.mcbp import Opcode, encode_request

SIZE = 20 * 1024 * 1024
ROUNDS = scaled(4, 20)
CLIENTS = scaled(5, 40)
MOST = 1.5


def broken_sets(wires: list[Wire]) -> None:
    """Break off each SET 200 bytes before its end."""
    frame = memoryview(encode_request(Opcode.SET, key=b"k", value=bytes(SIZE), extras=bytes(8)))[:-200]
    for wire in wires:
        wire.socket.sendall(frame)


def unread_gets(wires: list[Wire]) -> None:
    """Ask for a large value again and again, and read nothing."""
    for wire in wires:
        wire.send(encode_request(Opcode.GET, key=b"k") * 50)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.timeout(scaled(120, 1200))
@pytest.mark.parametrize("leave", [broken_sets, unread_gets])
def test_clients_that_have_left_hold_nothing(leave: Callable[[list[Wire]], None]) -> None:
    with running("--listen", "tcp://127.0.0.1:0", "--engine", "memory") as server:
        with Wire(server.port) as wire:
            stored = wire.call(Opcode.SET, key=b"k", value=bytes(SIZE), extras=bytes(8))
            assert stored.status == 0
        sizes: list[int] = []
        for _ in range(ROUNDS):
            wires = [Wire(server.port) for _ in range(CLIENTS)]
            leave(wires)
            for wire in wires:
                wire.socket.close()
            with Wire(server.port) as wire:
                assert wire.call(Opcode.NOOP).status == 0
            sizes.append(resting(server.popen.pid, MOST * sizes[0] if sizes else 0))
        print([size // 1024 // 1024 for size in sizes], "MiB after each round")
        assert sizes[-1] <= MOST * sizes[0]


def resting(pid: int, most: float) -> int:
    """Return the resident memory of a process, in bytes, once it is no more than `most`, or after two seconds.

    Freed memory goes back to the system within a second.
    """
    give_up = time.monotonic() + 2
    size = held_by(pid).memory
    while size > most and time.monotonic() < give_up:
        time.sleep(0.1)
        size = min(size, held_by(pid).memory)
    return size
