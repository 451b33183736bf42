"""The small HTTP server, and clients that mean no good."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from support.http import Site, run_site
from support.service import wait_until
from trio_spool.server.http import HttpError, Request, Response

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\n"


async def page(request: Request) -> Response:
    return Response(body=b"page " + request.body)


REFUSED = {
    "no HTTP": (b"\x80\x00\x00\x00", 400),
    "a line of text": (b"hello there\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "no version": (b"GET /\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a target that is no path": (b"GET page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a proxy's request": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "a zero byte": (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
    "a blank before the colon": (POST + b"Content-Length : 5\r\n\r\n", 400),
    "a long header that is none": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"\0" * 5000 + b"\r\n\r\n", 400),
    "a lone carriage return": (POST + b"A: b\rContent-Length: 5\r\n\r\n", 400),
    "a length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and a length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two lengths in one": (POST + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length of 5000 digits": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "a huge length": (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "an unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunks twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    "a chunk of a negative size": (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    "a chunk with another end": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", 400),
    "a chunk of a huge size": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 21 + b"\r\n", 400),
    "a chunk's endless header": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 30_000, 431),
    "chunks beyond the bound": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"800\r\n" + b"x" * 2048 + b"\r\n" + b"0\r\n\r\n",
        413,
    ),
    "endless trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 6000, 431),
    "an endless line": (b"GET /" + b"a" * 30_000, 431),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 6000, 431),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_request_gets_one_answer_and_the_end(name: str) -> None:
    """What follows it is not taken for a request: whoever hides one there gets no answer to it."""
    sent, status = REFUSED[name]
    async with run_site(page, max_body=1024) as site, site.visit() as visitor:
        answer = await visitor.ask(sent + GET)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert b"Traceback" not in answer.body
        assert len(answer.body) < 400
        assert await visitor.closed()
        assert (site.server.requests, site.server.refused) == (0, 1)
        assert [(level, event) for level, event, _ in site.log] == [("info", "a bad HTTP request")]


async def test_a_request_hidden_in_a_body_is_a_body() -> None:
    async with run_site(page) as site, site.visit() as visitor:
        await visitor.send(POST + b"Content-Length: %d\r\n\r\n" % len(GET) + GET)
        assert (await visitor.answer(b"POST")).body == b"page " + GET
        await visitor.stream.send_eof()
        assert await visitor.closed()
        assert site.server.requests == 1


async def test_a_client_that_asks_for_another_protocol_gets_this_one() -> None:
    async with run_site(page) as site, site.visit() as visitor:
        upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert (await visitor.ask(upgrade)).body == b"page "
        assert (await visitor.ask(GET)).body == b"page "


async def test_an_answer_gets_to_a_client_that_is_still_sending() -> None:
    """A system that closes a connection with something unread resets it, and the answer would be lost with it."""
    async with run_site(page, max_body=10, farewell=30) as site, site.visit() as visitor:
        answer = await visitor.ask(POST + b"Content-Length: 500000\r\n\r\n" + bytes(500_000))
        assert answer.status == 413
        assert await visitor.closed()


# Time


@pytest.mark.parametrize("begun", [b"G", GET[:-2], POST + b"Content-Length: 9\r\n\r\nabc"], ids=["a byte", "a head", "a body"])
async def test_a_request_that_does_not_arrive_is_given_up(begun: bytes) -> None:
    async with run_site(page, request_time=0.2) as site, site.visit() as visitor:
        answer = await visitor.ask(begun)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await visitor.closed()


async def test_bytes_that_trickle_in_are_no_excuse() -> None:
    async with run_site(page, request_time=0.3) as site, site.visit() as visitor:

        async def trickle() -> None:
            try:
                await visitor.send(b"GET / HTTP/1.1\r\n")
                while True:
                    await visitor.send(b"A: b\r\n")
                    await trio.sleep(0.01)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert b"408 Request Timeout" in await visitor.everything()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with run_site(page, idle_time=0.2) as site, site.visit() as visitor:
        assert (await visitor.ask(GET)).status == 200
        assert await visitor.closed()
        assert not site.log


async def test_a_handler_that_takes_too_long() -> None:
    async def handle(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with run_site(handle, answer_time=0.1) as site, site.visit() as visitor:
        assert (await visitor.ask(GET)).status == 503
        assert (await visitor.ask(GET)).status == 503  # the connection is all right


async def test_a_client_that_takes_no_answers_is_given_up() -> None:
    large = bytes(2_000_000)

    async def handle(request: Request) -> Response:
        return Response(body=large)

    async with run_site(handle, send_timeout=0.2) as site, site.visit() as visitor:
        await visitor.send(GET * 20)
        await wait_until(lambda: site.server.requests > 0)
        await wait_until(lambda: site.server.connections == 0)
        assert site.server.requests < 20


# Number


async def test_idle_connections_make_room_and_busy_ones_do_not() -> None:
    go_on = trio.Event()

    async def handle(request: Request) -> Response:
        if request.path == "/wait":
            await go_on.wait()
        return Response(body=b"page")

    async with run_site(handle, max_connections=2) as site:
        async with site.visit() as first, site.visit() as second:
            assert (await first.ask(GET)).status == 200
            assert (await second.ask(GET)).status == 200
            async with site.visit() as third, site.visit() as fourth:
                assert (await third.ask(GET.replace(b"/ ", b"/free "))).status == 200  # in the place of the first, idle for longest
                assert await first.closed()
                assert await second.closed()
                await third.send(GET.replace(b"/ ", b"/wait "))
                await fourth.send(GET.replace(b"/ ", b"/wait "))
                await wait_until(lambda: site.server.requests == 5)
                async with site.visit() as fifth:
                    answer = await fifth.ask(GET)
                    assert (answer.status, answer.headers["connection"]) == (503, "close")
                    assert await fifth.closed()
                assert site.server.rejected == 1
                go_on.set()
                assert (await third.answer()).body == (await fourth.answer()).body == b"page"
        assert [event for _, event, _ in site.log] == ["no place for another HTTP connection"]


async def test_one_address_leaves_others_a_place() -> None:
    """All connections of these tests come from one address, so the bound for one is reached before that for all."""
    async with run_site(page, max_connections=10, max_connections_per_address=2) as site:
        async with site.visit() as first, site.visit() as second:
            await first.send(b"GET")
            await second.send(b"GET")
            await wait_until(lambda: site.server.connections == 2)
            async with site.visit() as third:
                assert (await third.ask(GET)).status == 503
            place = next(iter(site.server._open.values()))
            place.address = "192.0.2.1"  # as if the first came from elsewhere
            async with site.visit() as fourth:
                assert (await fourth.ask(GET)).status == 200


async def test_a_flood_of_connections_holds_no_more_than_it_may() -> None:
    highest = 0

    async def visit(site: Site) -> None:
        nonlocal highest
        async with site.visit() as visitor:
            highest = max(highest, site.server.connections)
            await visitor.send(b"GET")
            await visitor.everything()

    async with run_site(page, max_connections=5, request_time=0.2, farewell=0.1) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(visit, site)
        await wait_until(lambda: site.server.connections == 0)
        assert 0 < highest <= 10
        async with site.visit() as visitor:
            assert (await visitor.ask(GET)).status == 200


# Memory


@pytest.mark.parametrize(
    "sent",
    [GET, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"GET /404 HTTP/1.1\r\nHost: a\r\n\r\n",
     b"GET /500 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /"],
    ids=["an answer", "a stream", "a bad request", "a refusal", "a failure", "half a request"],
)  # fmt: skip
async def test_a_connection_that_has_ended_is_gone(sent: bytes) -> None:
    """Nothing of it waits for the next collection of garbage, which may be far away while clients come and go."""

    async def handle(request: Request) -> Response:
        if request.path == "/404":
            raise HttpError(404, "nothing is here")
        if request.path == "/500":
            raise ZeroDivisionError
        return Response(body=iter([b"page"]) if request.path == "/stream" else b"page")

    gc.collect()
    gc.disable()
    try:
        async with run_site(handle) as site:
            async with site.visit() as visitor:
                await wait_until(lambda: any(place.connection is not None for place in site.server._open.values()))
                (connection,) = [weakref.ref(place.connection) for place in site.server._open.values()]
                await visitor.send(sent)
                await visitor.stream.send_eof()
                await visitor.everything()
            with trio.fail_after(20):  # its task ends soon after it has left the server's list
                await wait_until(lambda: connection() is None)
    finally:
        gc.enable()


# Any bytes


_TOKENS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: x\r\n", b"\r\n", b"\n", b"\r",
        b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"abc",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"\0", b"\xff",
    ]
)  # fmt: skip


def plausible(answers: bytes) -> bool:
    """Whether these bytes are answers of ours, one after the other."""
    while answers:
        head, end, rest = answers.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1.1 "):
            return False
        if head.startswith(b"HTTP/1.1 100 "):
            answers = rest
            continue
        (length,) = [int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        if not (rest.startswith((b"page ", b"HTTP/1.1", b"this is", b"the ", b"this server")) or not rest):
            return False
        answers = rest if rest.startswith(b"HTTP/1.1") else rest[length:]
    return True


@given(st.lists(_TOKENS | st.binary(max_size=20), max_size=25), st.integers(0, 200))
def test_any_bytes_get_answers_or_the_end(pieces: list[bytes], split: int) -> None:
    """Whatever is sent, and however it is cut: what comes back are whole answers, and the next client is served."""

    async def main() -> None:
        async with run_site(page, max_body=1024, farewell=5) as site:
            async with site.visit() as visitor:
                sent = b"".join(pieces)
                try:
                    for part in (sent[:split], sent[split:]):
                        if part:
                            await visitor.send(part)
                        await trio.lowlevel.checkpoint()
                    await visitor.stream.send_eof()
                except trio.BrokenResourceError:
                    pass
                assert plausible(await visitor.everything())
            async with site.visit() as visitor:
                assert (await visitor.ask(GET)).status == 200
            assert not [entry for entry in site.log if entry[0] not in ("info",)]

    trio.run(main)
