"""Ctrl-C while a sender sends: it arrives as KeyboardInterrupt, at once, whatever the peer does, and the producer is closed."""

from __future__ import annotations

import math
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool import Sender, open_sender

MUCH = bytes(12_000_000)  # more than any buffer holds


async def interrupt_when_all_wait() -> None:
    """Interrupt as Ctrl-C does while the program waits. A system task is not interrupted itself."""
    await wait_all_tasks_blocked(0.01)
    signal.raise_signal(signal.SIGINT)


def stalled_sender(then: Callable[[Sender], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Return a main task with a sender that waits for a peer which does not read, for as long as it takes."""

    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            async with open_sender(trio.SocketStream(trio.socket.from_stdlib_socket(left)), send_timeout=math.inf) as sender:
                sender.send_nowait(MUCH)
                await wait_all_tasks_blocked()
                trio.lowlevel.spawn_system_task(interrupt_when_all_wait)
                await then(sender)
                pytest.fail("the interrupt was lost")

    return main


def test_waiting_for_the_turn_of_a_spool(closable) -> None:
    producer = closable()

    async def then(sender: Sender) -> None:
        await sender.send_spool(producer)

    with pytest.raises(KeyboardInterrupt):
        trio.run(stalled_sender(then))
    assert (producer.begun, producer.closed) == (False, True)


def test_in_a_scope_with_a_deadline(closable) -> None:
    """The scope is cancelled while the producer is being closed. It must not take the interrupt for its cancellation."""
    producer = closable()
    closing = threading.Event()

    def close() -> None:
        closing.set()
        assert cancelled.wait(60)

    cancelled = threading.Event()
    producer.close = close

    async def cancel(scope: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(closing.wait, 60)
        scope.cancel()
        cancelled.set()

    async def then(sender: Sender) -> None:
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(cancel, scope)
            await sender.send_spool(producer)

    with pytest.raises(KeyboardInterrupt):
        trio.run(stalled_sender(then))


def test_waiting_for_room_or_until_all_is_sent() -> None:
    async def send(sender: Sender) -> None:
        await sender.send(b"x")

    async def drain(sender: Sender) -> None:
        await sender.drain()

    for then in (send, drain):
        with pytest.raises(KeyboardInterrupt):
            trio.run(stalled_sender(then))


def test_waiting_at_the_end_of_the_block() -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            async with open_sender(trio.SocketStream(trio.socket.from_stdlib_socket(left)), send_timeout=math.inf) as sender:
                sender.send_nowait(MUCH)
                trio.lowlevel.spawn_system_task(interrupt_when_all_wait)
            pytest.fail("the interrupt was lost")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


def test_in_the_middle_of_a_spool() -> None:
    """The peer reads a little, and then no more."""
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield bytes(10_000)
        finally:
            closed.set()

    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            async with open_sender(trio.SocketStream(trio.socket.from_stdlib_socket(left)), send_timeout=math.inf) as sender:
                trio.lowlevel.spawn_system_task(interrupt_when_all_wait)
                await sender.send_spool(endless())
                pytest.fail("the interrupt was lost")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert closed.is_set()


class Interrupting(trio.abc.SendStream):
    """A stream that is interrupted while the sender's task writes to it."""

    async def send_all(self, data: object) -> None:
        await trio.lowlevel.checkpoint()
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("what", ["send", "send_spool"])
def test_in_the_senders_own_task(what: str) -> None:
    """It must not read "the peer is gone"."""

    async def main() -> None:
        async with open_sender(Interrupting()) as sender:
            if what == "send":
                await sender.send(b"x")
                await sender.drain()
            else:
                await sender.send_spool(iter(lambda: b"x", None))
            pytest.fail("the interrupt was lost")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


@pytest.mark.parametrize("seed", range(30))
def test_at_any_time(seed: int) -> None:
    """Nothing hangs, nothing is left, and what was received is a beginning of what was sent."""
    random = Random(seed)
    received = bytearray()
    opened, closed = [], []

    def numbers():
        opened.append(True)
        try:
            for number in range(random.randrange(3_000)):
                yield b"%06d\n" % number
        finally:
            closed.append(True)

    def read(peer: socket.socket) -> None:
        while data := peer.recv(random.randrange(1, 5_000)):
            received.extend(data)

    async def main() -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        thread = threading.Thread(target=read, args=[right])
        thread.start()
        main_thread = threading.main_thread().ident
        timer = threading.Timer(random.random() / 30, lambda: signal.pthread_kill(main_thread, signal.SIGINT))
        try:
            async with open_sender(trio.SocketStream(trio.socket.from_stdlib_socket(left))) as sender:
                timer.start()
                while True:
                    await sender.send_spool(numbers())
                    await sender.send(b"and\n")
                    await sender.drain()
        finally:
            timer.cancel()
            left.close()
            thread.join()
            right.close()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert len(opened) == len(closed)
    lines = bytes(received).split(b"\n")[:-1]
    expected = 0
    for line in lines:
        assert line == b"and" or int(line) == expected
        expected = 0 if line == b"and" else expected + 1
