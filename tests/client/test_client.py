"""The client library, against a service in the same event loop."""

from __future__ import annotations

import sys

import pytest
import trio

from support.replies import reply_to
from trio_spool import SpoolLimits, open_sender
from trio_spool.client import (
    Client,
    ClientError,
    ConnectionLostError,
    ExistsError,
    NotANumberError,
    NotFoundError,
    NotStoredError,
    ServerError,
    TooBigError,
    open_client,
)
from trio_spool.mcbp import Feature, Opcode, encode_response

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401


async def test_every_operation(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        cas = await client.set(b"k", b"v", flags=3)
        found = await client.get(b"k")
        assert (found.value, found.flags, found.cas) == (b"v", 3, cas)
        with pytest.raises(ExistsError):
            await client.set(b"k", b"w", cas=cas + 1)
        with pytest.raises(ExistsError):
            await client.add(b"k", b"w")
        await client.add(b"new", b"w")
        await client.replace(b"new", b"x")
        await client.append(b"new", b">")
        await client.prepend(b"new", b"<")
        assert (await client.get(b"new")).value == b"<x>"
        with pytest.raises(NotStoredError):
            await client.append(b"none", b"x")
        with pytest.raises(NotANumberError):
            await client.increment(b"new")
        assert await client.increment(b"n", 5, initial=1) == 1
        assert await client.increment(b"n", 5) == 6
        assert await client.decrement(b"n", 2) == 4
        await client.touch(b"n", 100)
        assert (await client.get_and_touch(b"n", 0)).value == b"4"
        with pytest.raises(TooBigError):
            await client.set(b"big", b"x" * 1001)
        await client.delete(b"n")
        with pytest.raises(NotFoundError, match="delete: Not found"):
            await client.delete(b"n")
        await client.noop()
        assert int((await client.version()).split(".")[0]) >= 1
        await client.flush(1000)
        await client.flush()
        with pytest.raises(NotFoundError) as caught:
            await client.get(b"k")
        assert caught.value.status == 1
        assert await client.hello("test", (Feature.XERROR, Feature.DUPLEX)) == [Feature.XERROR]
        with pytest.raises(ServerError):
            await client.flush()


async def test_many_tasks_share_a_client(port: int) -> None:
    async with open_client("127.0.0.1", port) as client, trio.open_nursery() as nursery:

        async def work(number: int) -> None:
            key = b"%d" % number
            for round_ in range(20):
                await client.set(key, b"%d" % round_)
                assert (await client.get(key)).value == b"%d" % round_

        for number in range(20):
            nursery.start_soon(work, number)


async def test_statistics_are_streamed_with_a_bounded_look_ahead(port: int) -> None:
    async with open_client("127.0.0.1", port, look_ahead=50) as client:
        calls = [await client.begin_set(b"%05d" % number, b"v") for number in range(20_000)]
        for call in calls:
            assert await client.finish_set(call)
        async with client.stat("keys") as statistics:
            names = [name async for name, _ in statistics]
        assert names == [b"%05d" % number for number in range(20_000)]
        # One that is given up does not get in the way of what follows.
        async with client.stat("keys") as statistics:
            async for _ in statistics:
                break
        assert (await client.get(b"00001")).value == b"v"
        with pytest.raises(NotFoundError):
            async with client.stat("nothing") as statistics:
                async for _ in statistics:
                    pass


async def test_cancelled_calls_do_not_mix_up_the_others(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        await client.set(b"k", b"v")
        for _ in range(50):
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.get(b"k")
            assert (await client.get(b"k")).value == b"v"


@pytest.mark.parametrize(("answers", "hint"), [(0, " before it answered: it may want TLS"), (1, "")])
async def test_a_server_that_closes_the_connection(answers: int, hint: str, nursery: trio.Nursery) -> None:
    """It may have wanted TLS, but not if it has answered before."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            for _ in range(answers):
                request = await stream.receive_some(100)
                await stream.send_all(reply_to(request, encode_response(Opcode.NOOP, 0, 0)))
            await stream.receive_some(100)

    listeners = await nursery.start(trio.serve_tcp, answer, 0)
    async with open_client("127.0.0.1", listeners[0].socket.getsockname()[1]) as client:
        for _ in range(answers):
            await client.noop()
        with pytest.raises(ConnectionLostError, match=f"^the server closed the connection{hint}$"):
            await client.noop()


async def test_the_server_goes_away(port: int) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def hang_up(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        async with open_client("127.0.0.1", listeners[0].socket.getsockname()[1]) as client:
            for _ in range(2):
                with pytest.raises(ConnectionLostError):
                    await client.get(b"k")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        encode_response(Opcode.SET, 0, 1),
        encode_response(Opcode.GET, 0, 1, extras=bytes(4)) * 2,
        encode_response(Opcode.GET, 0, 0),
        encode_response(Opcode.GET, 0, 2),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
async def test_answers_that_nobody_asked_for(answer: bytes) -> None:
    left, right = trio.testing.memory_stream_pair()
    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        client = Client(left, sender, 10)
        nursery.start_soon(client.receive)
        await right.send_all(answer)
        with pytest.raises(ClientError):
            await client.get(b"k")
            await client.get(b"k")
        await right.aclose()
        await left.aclose()


async def test_requests_queue_up_to_a_bound() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        client = Client(left, sender, 10)
        nursery.start_soon(client.receive)
        with trio.move_on_after(0.1) as scope:
            while True:
                await client.begin_set(b"k", b"x" * 100_000)
        assert scope.cancelled_caught
        assert sender.statistics().high_water < SpoolLimits().window + 101_000
        await right.aclose()
        with pytest.raises(ConnectionLostError):
            while True:
                await client.begin_set(b"k", b"x" * 100_000)
        nursery.cancel_scope.cancel()
