"""The conversation with the server: uploads, clients that leave, cancellation, errors, and the other kinds of scopes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from support.asgi import Server, make_scope
from trio_spool import SpoolBrokenError, SpoolLimits
from trio_spool.wsgi import WSGIMiddleware

TEXT = [("Content-Type", "text/plain")]


class Application:
    """A WSGI application that runs `steps`, and notes how it ends.

    Attributes:
        reached: Set by the steps, once they are where the test wants them.
    """

    def __init__(self, steps: Callable[[Application, Any, Any], Iterator[bytes]]) -> None:
        self.reached = threading.Event()
        self.threads: list[int] = []
        self.error: BaseException | None = None
        self.closed = False
        self._steps = steps

    def __call__(self, environ: Any, start_response: Any) -> Application:
        self.threads.append(threading.get_ident())
        self._running = self._steps(self, environ, start_response)
        return self

    def __iter__(self) -> Iterator[bytes]:
        self.threads.append(threading.get_ident())
        try:
            yield from self._running
        except BaseException as exc:
            self.error = exc
            raise

    def close(self) -> None:
        self.threads.append(threading.get_ident())
        self._running.close()
        self.closed = True


async def in_thread(function: Callable[[], Any]) -> Any:
    return await (trio.to_thread.run_sync(function) if trio.lowlevel.in_trio_run() else asyncio.to_thread(function))


async def answer_while(
    main: Callable[[], Any], server: Server, middleware: WSGIMiddleware, *, receive: Any = None, send: Any = None, **scope: Any
) -> None:
    """Answer a request, and beside it run `main`."""

    async def answer() -> None:
        await middleware(make_scope(**scope), receive or server.receive, send or server.send)

    if trio.lowlevel.in_trio_run():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await main()
    else:
        task = asyncio.create_task(answer())
        await main()
        await task


def reads_all(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
    self.reached.set()
    environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    yield b"never"


def writes_for_ever(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    while True:
        yield bytes(1000)
        self.reached.set()


@pytest.mark.parametrize("give_back", [False, True])
@pytest.mark.parametrize("steps", [reads_all, writes_for_ever])
def test_a_client_that_leaves(run, steps: Any, give_back: bool) -> None:
    application = Application(steps)

    async def main() -> Server:
        server = Server(b"the begin", complete=False)

        async def leave() -> None:
            await in_thread(application.reached.wait)
            server.leaves.set()

        await answer_while(leave, server, WSGIMiddleware(application, give_back=give_back), method="POST")
        assert application.closed  # before the server is told that the request is done
        return server

    server = run(main)
    assert not server.complete
    if steps is reads_all:
        assert server.sent == []
        assert isinstance(application.error, SpoolBrokenError)
        assert "the client has left" in str(application.error)


def test_a_client_that_leaves_while_the_window_is_full(run) -> None:
    application = Application(writes_for_ever)

    async def main() -> None:
        server = Server()

        async def stalled(message: Any) -> None:
            server.sent.append(message)
            if len(server.sent) > 2:
                await server.leaves.wait()

        middleware = WSGIMiddleware(application, limits=SpoolLimits(window=10_000, batch=5_000))

        async def leave() -> None:
            await in_thread(application.reached.wait)
            server.leaves.set()

        server.send = stalled  # type: ignore[method-assign]
        await answer_while(leave, server, middleware)
        assert application.closed

    run(main)


@pytest.mark.parametrize("delivered", [0, 1, 2])
@pytest.mark.parametrize("whole", [False, True])
def test_a_server_that_tells_by_an_error_that_the_client_has_left(run, whole: bool, delivered: int) -> None:
    application = Application(writes_for_ever)

    def hello(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b"hello"]

    async def main() -> int:
        server = Server()

        async def send(message: Any) -> None:
            if len(server.sent) == delivered:
                raise ConnectionResetError
            server.sent.append(message)

        await WSGIMiddleware(hello if whole else application)(make_scope(), server.receive, send)
        return len(server.sent)

    assert run(main) == delivered
    assert whole or application.closed


def test_an_error_because_the_client_left_is_not_raised(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.reached.set()
        try:
            environ["wsgi.input"].read()
        except OSError:
            raise LookupError("as a framework makes of it") from None
        yield b""

    run(leaving, steps)


def test_another_error_is_raised_although_the_client_left(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.reached.set()
        try:
            environ["wsgi.input"].read()
        except OSError:
            pass
        self.later = ZeroDivisionError("in the clean-up")
        raise self.later
        yield b""

    with pytest.raises(BaseException) as caught:  # Trio has a group of it
        run(leaving, steps)
    errors = getattr(caught.value, "exceptions", [caught.value])
    assert [type(error) for error in errors] == [ZeroDivisionError]


async def leaving(steps: Any) -> None:
    application = Application(steps)
    server = Server(b"the begin", complete=False)

    async def leave() -> None:
        await in_thread(application.reached.wait)
        server.leaves.set()

    await answer_while(leave, server, WSGIMiddleware(application), method="POST")


@pytest.mark.parametrize("steps", [reads_all, writes_for_ever])
def test_cancellation_stops_an_application(run, steps: Any) -> None:
    application = Application(steps)

    async def main() -> None:
        server = Server(b"the begin", complete=False)
        middleware = WSGIMiddleware(application)
        if trio.lowlevel.in_trio_run():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(middleware, make_scope("POST"), server.receive, server.send)
                await trio.to_thread.run_sync(application.reached.wait)
                nursery.cancel_scope.cancel()
        else:
            task = asyncio.create_task(middleware(make_scope("POST"), server.receive, server.send))
            await asyncio.to_thread(application.reached.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert application.closed
        assert isinstance(application.error, SpoolBrokenError if steps is reads_all else GeneratorExit)

    run(main)


def test_an_error_before_the_first_byte(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b""
        raise ZeroDivisionError

    assert run(failing, steps) == []  # so that the server can answer 500


def test_an_error_after_the_first_byte(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"begun"
        raise ZeroDivisionError

    sent = run(failing, steps)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b"begun"
    assert sent[1]["more_body"]


async def failing(steps: Any) -> list[Any]:
    application = Application(steps)
    server = Server()
    with pytest.raises(ZeroDivisionError):
        await WSGIMiddleware(application)(make_scope(), server.receive, server.send)
    assert application.closed
    return server.sent


def test_one_thread_for_the_request(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for _ in range(100):
            self.threads.append(threading.get_ident())
            yield bytes(1000)

    application = Application(steps)

    async def main() -> None:
        server = Server()
        await WSGIMiddleware(application, limits=SpoolLimits(window=2000, batch=1000))(make_scope(), server.receive, server.send)
        assert len(server.content) == 100_000

    run(main)
    assert len(application.threads) == 103
    assert len(set(application.threads)) == 1
    assert threading.get_ident() not in application.threads


@pytest.mark.parametrize("give_back", [False, True])
def test_context_variables(run, give_back: bool) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield variable.get().encode()
        variable.set("changed")
        yield variable.get().encode()

    async def main() -> bytes:
        variable.set("of the server, ")
        server = Server()
        await WSGIMiddleware(Application(steps), give_back=give_back)(make_scope(), server.receive, server.send)
        return server.content

    assert run(main) == b"of the server, changed"


def test_the_body_is_received_no_faster_than_it_is_read(run) -> None:
    go = threading.Event()

    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.reached.set()
        go.wait()
        length = len(environ["wsgi.input"].read())
        start_response("200 OK", TEXT)
        yield str(length).encode()

    application = Application(steps)

    async def main() -> bytes:
        server = Server(*[bytes(1000)] * 100)

        async def look() -> None:
            await in_thread(application.reached.wait)
            for _ in range(50):
                await (trio.sleep(0) if trio.lowlevel.in_trio_run() else asyncio.sleep(0))
            assert server.received == 5  # the fifth fills the window
            go.set()

        await answer_while(look, server, WSGIMiddleware(application, body_window=5000), method="POST")
        return server.content

    assert run(main) == b"100000"


EXPECT = [("expect", "100-continue"), ("content-length", "3")]


def test_expect_100_continue(run) -> None:
    """Servers send "100 Continue" when the application asks for the body: so it must not be asked for before."""
    counts: list[int] = []
    servers: list[Server] = []

    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        counts.append(servers[0].received)
        data = environ["wsgi.input"].read(3)
        start_response("200 OK", TEXT)
        yield data

    async def main() -> Server:
        servers.append(server := Server(b"abc"))
        await WSGIMiddleware(Application(steps))(make_scope("PUT", headers=EXPECT), server.receive, server.send)
        return server

    assert run(main).content == b"abc"
    assert counts == [0]


def test_expect_100_continue_and_a_refusal(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("403 Forbidden", TEXT)
        yield b"no"

    async def main() -> Server:
        server = Server(b"abc")

        async def send(message: Any) -> None:
            if not server.sent:
                assert server.received == 0
            await Server.send(server, message)

        await WSGIMiddleware(Application(steps))(make_scope("PUT", headers=EXPECT), server.receive, send)
        return server

    assert run(main).content == b"no"


def test_a_client_that_expects_and_leaves_during_the_response(run) -> None:
    application = Application(writes_for_ever)

    async def main() -> None:
        server = Server(complete=False)

        async def leave() -> None:
            await in_thread(application.reached.wait)
            server.leaves.set()

        await answer_while(leave, server, WSGIMiddleware(application), method="PUT", headers=EXPECT)
        assert application.closed

    run(main)


def test_an_application_that_closes_its_input(run) -> None:
    """What the client goes on to send is dropped, and the client is still watched."""

    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["wsgi.input"].close()
        yield from writes_for_ever(self, environ, start_response)

    application = Application(steps)

    async def main() -> int:
        server = Server(*[bytes(1000)] * 100)

        async def leave() -> None:
            await in_thread(application.reached.wait)
            server.leaves.set()

        await answer_while(leave, server, WSGIMiddleware(application, body_window=1000), method="POST")
        assert application.closed
        return server.received

    assert run(main) == 101


def test_a_request_without_a_body(run) -> None:
    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"%d" % len(environ["wsgi.input"].read())

    async def main(method: str) -> bytes:
        server = Server()
        await WSGIMiddleware(Application(steps))(make_scope(method), server.receive, server.send)
        return server.content

    for method in ("GET", "DELETE", "POST"):
        assert run(main, method) == b"0"


def test_an_error_of_the_server(run) -> None:
    application = Application(reads_all)

    async def main() -> None:
        server = Server()

        async def receive() -> Any:
            raise LookupError("in receive")

        with pytest.raises(LookupError, match="in receive"):
            await WSGIMiddleware(application)(make_scope("POST"), receive, server.send)
        assert application.closed or not application.threads  # it may not have been called yet

    run(main)


def test_lifespan(run) -> None:
    async def main() -> list[str]:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent: list[str] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await WSGIMiddleware(lambda environ, start_response: [])({"type": "lifespan"}, receive, send)
        return sent

    assert run(main) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_shutdown_waits_for_applications(run) -> None:
    go = threading.Event()

    def steps(self: Application, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.reached.set()
        go.wait()
        start_response("200 OK", TEXT)
        yield b""

    application = Application(steps)

    async def main() -> None:
        middleware = WSGIMiddleware(application)
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent: list[str] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if len(sent) == 2:
                assert application.closed

        async def shut_down() -> None:
            await in_thread(application.reached.wait)
            await answer_while(let_go, Server(), middleware, type="lifespan", receive=receive, send=send)

        async def let_go() -> None:
            for _ in range(20):
                await (trio.sleep(0) if trio.lowlevel.in_trio_run() else asyncio.sleep(0))
            assert sent == ["lifespan.startup.complete"]
            go.set()

        await answer_while(shut_down, Server(), middleware)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    run(main)


@pytest.mark.parametrize("give_back", [False, True])
def test_nothing_is_left_to_the_garbage_collector(run, give_back: bool) -> None:
    """What a request holds is freed at its end: many clients may come before the collector does."""
    kept: list[Any] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        kept.append(weakref.ref(environ["wsgi.input"]))
        start_response("200 OK", TEXT)
        yield environ["wsgi.input"].read()
        yield b"more"

    async def main() -> None:
        server = Server(b"abc")
        await WSGIMiddleware(application, give_back=give_back)(make_scope("POST"), server.receive, server.send)
        assert server.content == b"abcmore"
        for _ in range(100):  # the thread and the driver may still be on their way out
            if kept[0]() is None:
                return
            await (trio.sleep(0.01) if trio.lowlevel.in_trio_run() else asyncio.sleep(0.01))
        pytest.fail("the request is still referred to")

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_websockets_are_refused(run) -> None:
    async def main() -> list[str]:
        sent: list[str] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await WSGIMiddleware(lambda environ, start_response: [])({"type": "websocket"}, receive, send)
        return sent

    assert run(main) == ["websocket.close"]


def test_other_scopes_are_errors(run) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="'webtransport'"):
            await WSGIMiddleware(lambda environ, start_response: [])({"type": "webtransport"}, None, None)  # type: ignore[arg-type]

    run(main)


def test_what_is_no_application() -> None:
    with pytest.raises(TypeError, match="callable"):
        WSGIMiddleware(["not an application"])  # type: ignore[arg-type]
