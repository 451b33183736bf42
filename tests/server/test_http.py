"""The small HTTP server: requests and answers as RFC 9112 has them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
import trio

from support.http import run_site
from support.service import wait_until
from trio_spool.server.http import HttpError, Request, Response
from trio_spool.server.http._replying import accepts_gzip

GET = b"GET /page?x=1 HTTP/1.1\r\nHost: here\r\n\r\n"
LONG = b"".join(b"name%d 12\n" % number for number in range(2000))


async def echo(request: Request) -> Response:
    """Say what has arrived."""
    return Response(body=f"{request.method} {request.path} {request.query} ".encode() + request.body)


async def test_a_request_and_its_answer() -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        answer = await visitor.ask(GET)
        assert (answer.status, answer.body) == (200, b"GET /page x=1 ")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert parsedate_to_datetime(answer.headers["date"]).year > 2020
        assert "connection" not in answer.headers


async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order() -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(50)]
        await visitor.send(b"".join(requests))
        assert [(await visitor.answer()).body for _ in requests] == [b"GET /%d  " % number for number in range(50)]
        assert (site.server.requests, site.server.connections) == (50, 1)


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        answer = await visitor.ask(GET.replace(b"GET", b"HEAD"))
        assert (answer.headers["content-length"], answer.body) == ("14", b"")
        assert (await visitor.ask(GET)).body == b"GET /page x=1 "  # nothing was sent that would come now


async def test_bodies_with_a_length_and_in_chunks() -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        answer = await visitor.ask(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        assert answer.body == b"POST /a  hello"
        chunked = b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;why=not\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n"
        for number in range(len(chunked) - 1):  # byte by byte
            await visitor.send(chunked[number : number + 1])
        await visitor.send(chunked[-1:] + GET)
        assert (await visitor.answer(b"PUT")).body == b"PUT /b  hello!"
        assert (await visitor.answer()).body == b"GET /page x=1 "


async def test_a_client_that_waits_for_permission_gets_it() -> None:
    async with run_site(echo, max_body=10) as site:
        async with site.visit() as visitor:
            head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
            assert (await visitor.ask(head + b"2\r\n\r\n")).status == 100
            await visitor.send(b"ok")
            assert (await visitor.rest()).body == b"POST /  ok"
        async with site.visit() as visitor:
            assert (await visitor.ask(head + b"11\r\n\r\n")).status == 413
            assert await visitor.closed()


@pytest.mark.parametrize(
    "request_",
    [GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"GET /page?x=1 HTTP/1.0\r\n\r\n"],
    ids=["close", "1.0"],
)
async def test_a_connection_is_closed_when_the_client_wants_it(request_: bytes) -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        answer = await visitor.ask(request_ + GET)
        assert (answer.body, answer.headers["connection"]) == (b"GET /page x=1 ", "close")
        assert await visitor.closed()
        assert site.server.requests == 1


async def test_a_client_that_closes_only_its_sending_side_gets_its_answer() -> None:
    async with run_site(echo) as site, site.visit() as visitor:
        await visitor.send(GET)
        await visitor.stream.send_eof()
        assert (await visitor.answer()).status == 200
        assert await visitor.closed()


async def test_targets_of_proxies_and_segments() -> None:
    async def segments(request: Request) -> Response:
        return Response(body=repr((request.path, request.segments)).encode())

    async with run_site(segments) as site, site.visit() as visitor:
        answer = await visitor.ask(b"GET http://here/a/b%2Fc/%C3%A4 HTTP/1.1\r\nHost: here\r\n\r\n")
        assert answer.body.decode() == repr(("/a/b%2Fc/%C3%A4", ("a", "b/c", "ä")))
        assert (await visitor.ask(b"GET http://here HTTP/1.1\r\nHost: here\r\n\r\n")).body.startswith(b"('/',")
        assert (await visitor.ask(b"GET /%FF HTTP/1.1\r\nHost: here\r\n\r\n")).status == 400
        assert (await visitor.ask(b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n")).body.startswith(b"('*',")


async def test_headers_of_one_name_are_joined() -> None:
    async def headers(request: Request) -> Response:
        return Response(body=request.headers["x-a"].encode("latin-1"), headers=(("Location", "/there"),))

    async with run_site(headers) as site, site.visit() as visitor:
        answer = await visitor.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: \xe4\r\n\r\n")
        assert (answer.body, answer.headers["location"]) == (b"1, \xe4", "/there")


async def test_errors_of_handlers() -> None:
    async def handle(request: Request) -> Response:
        if request.path == "/refused":
            raise HttpError(404, "nothing is here", (("X-Why", "so"),))
        raise ZeroDivisionError("secret")

    async with run_site(handle) as site:
        async with site.visit() as visitor:
            answer = await visitor.ask(b"GET /refused HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (answer.status, answer.body, answer.headers["x-why"]) == (404, b"nothing is here\n", "so")
            assert not site.log
            answer = await visitor.ask(GET)
            assert (answer.status, answer.body) == (500, b"this failed; the log of the server says why\n")
            assert await visitor.closed()
        ((level, event, details),) = site.log
        assert (level, event, details["reason"]) == ("error", "a page of the HTTP server failed", "ZeroDivisionError: secret")
        assert "test_http.py" in str(details["where"])


async def test_headers_that_can_not_be_sent_are_an_error_of_ours() -> None:
    async def handle(request: Request) -> Response:
        return Response(headers=(("X-Split", "a\r\nSet-Cookie: b"),))

    async with run_site(handle) as site, site.visit() as visitor:
        await visitor.send(GET)
        assert b"Set-Cookie" not in await visitor.everything()
        await wait_until(lambda: bool(site.log))


# Streams


class Pages:
    """A body that a worker produces, and what was seen of it."""

    def __init__(self, pieces: int = 3, fails: bool = False) -> None:
        self._pieces = pieces
        self._fails = fails
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        try:
            for number in range(self._pieces):
                self.threads.add(threading.get_ident())
                yield b"%d\n" % number
            if self._fails:
                raise RuntimeError("the page has no end")
        finally:
            self.closed.set()


async def test_a_body_is_streamed_from_a_worker() -> None:
    pages = Pages(1000)

    async def handle(request: Request) -> Response:
        return Response(body=pages)

    async with run_site(handle) as site, site.visit() as visitor:
        whole = b"".join(b"%d\n" % number for number in range(1000))
        answer = await visitor.ask(GET)
        assert (answer.body, answer.headers["transfer-encoding"]) == (whole, "chunked")
        assert threading.get_ident() not in pages.threads
        assert pages.closed.is_set()
        assert (await visitor.ask(GET)).body == whole
        pages.threads.clear()
        assert (await visitor.ask(GET.replace(b"GET", b"HEAD"))).body == b""
        assert not pages.threads  # nobody made a body that nobody gets
        assert (await visitor.ask(b"GET / HTTP/1.0\r\n\r\n")).body == whole


@pytest.mark.parametrize("pieces", [0, 5])
async def test_a_stream_that_fails_is_no_whole_answer(pieces: int) -> None:
    pages = Pages(pieces, fails=True)

    async def handle(request: Request) -> Response:
        return Response(body=pages)

    async with run_site(handle) as site, site.visit() as visitor:
        await visitor.send(GET)
        received = await visitor.everything()
        assert b"500 Internal Server Error" in received if pieces == 0 else b"\r\n0\r\n" not in received
        await wait_until(lambda: bool(site.log))
        assert [details["reason"] for _, _, details in site.log] == ["RuntimeError: the page has no end"]


async def test_an_end_without_a_length_is_an_end_only_if_nothing_failed() -> None:
    """A client of HTTP/1.0 takes the end of the connection for that of the body, so a body that fails resets it."""

    async def handle(request: Request) -> Response:
        return Response(body=Pages(5, fails=request.path == "/fails"))

    async with run_site(handle) as site:
        async with site.visit() as visitor:
            assert (await visitor.ask(b"GET / HTTP/1.0\r\n\r\n")).body == b"0\n1\n2\n3\n4\n"
        async with site.visit() as visitor:
            await visitor.send(b"GET /fails HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                while await visitor.stream.receive_some(65536):
                    pass


async def test_an_empty_stream() -> None:
    async def handle(request: Request) -> Response:
        return Response(body=iter(()))

    async with run_site(handle) as site, site.visit() as visitor:
        assert (await visitor.ask(GET)).body == b""
        assert (await visitor.ask(GET)).status == 200


async def test_a_stream_that_takes_too_long_is_broken_off() -> None:
    stopped = threading.Event()

    def slow() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
                threading.Event().wait(0.01)
        finally:
            stopped.set()

    async def handle(request: Request) -> Response:
        return Response(body=slow())

    async with run_site(handle, answer_time=0.3) as site, site.visit() as visitor:
        await visitor.send(GET)
        assert not (await visitor.everything()).endswith(b"0\r\n\r\n")
        await wait_until(stopped.is_set)


# Compression


@pytest.mark.parametrize("body", [LONG, iter([LONG[:9000], LONG[9000:]])], ids=["whole", "streamed"])
async def test_bodies_are_compressed_for_those_who_ask(body: object) -> None:
    async def handle(request: Request) -> Response:
        return Response(body=body, compress=True)  # type: ignore[arg-type]

    async with run_site(handle) as site, site.visit() as visitor:
        answer = await visitor.ask(GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: br, gzip;q=0.5\r\n\r\n"))
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(answer.body) == LONG
        assert len(answer.body) < len(LONG) / 2


async def test_bodies_are_not_compressed_for_others() -> None:
    async def handle(request: Request) -> Response:
        return Response(body=LONG, compress=request.path != "/never")

    async with run_site(handle) as site, site.visit() as visitor:
        assert (await visitor.ask(GET)).body == LONG
        assert (await visitor.ask(b"GET /never HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")).body == LONG


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzip;q=1.000", True),
        ("gzip;q=nonsense", False),
        ("identity", False),
    ],
)
def test_accept_encoding(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


# The end of a server


async def test_stop_ends_idle_connections_and_answers_what_was_asked() -> None:
    began, go_on = trio.Event(), trio.Event()

    async def handle(request: Request) -> Response:
        began.set()
        await go_on.wait()
        return Response(body=b"done")

    async with run_site(handle) as site, site.visit() as idle, site.visit() as busy:
        await busy.send(GET + GET)
        await began.wait()
        await wait_until(lambda: site.server.connections == 2)
        site.server.stop()
        assert await idle.closed()
        go_on.set()
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert (await busy.everything()) == b""
        assert site.server.requests == 1


async def test_tls(authority) -> None:
    async def handle(request: Request) -> Response:
        certificate = request.client.certificate
        return Response(body=f"{request.client.tls} {bool(certificate)}".encode())

    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.cert, authority.key)
    async with run_site(handle, tls=context, tls_time=0.3) as site:
        async with site.visit(authority.client()) as visitor:
            assert (await visitor.ask(GET)).body == b"True False"
            answer = await visitor.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answer.body == b"True False"
            assert await visitor.closed()  # with the notice that nothing was cut off, or this would raise
        async with site.visit() as visitor:
            await visitor.send(GET)  # no TLS
            await visitor.everything()
        async with site.visit() as visitor:
            assert await visitor.closed()  # nothing was sent for too long
        assert [event for _, event, _ in site.log] == ["no TLS handshake"]
