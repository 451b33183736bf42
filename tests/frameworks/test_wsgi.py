"""WSGI applications under every ASGI server: Flask, Django, Bottle, and without a framework."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from support.servers import COMMANDS, PATIENCE, Client, Server, running

FRAMEWORKS = ("raw", "validated", "flask", "bottle", "django")
ROWS = b"".join(b"%099d\n" % number for number in range(5000))
PROMPT = 0.05  # seconds from the client's leaving to the close of what the application returned
MEGABYTE = 1_000_000

frameworks = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in COMMANDS])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all applications, each request in one thread."""
    with running(request.param, tmp_path_factory.mktemp("wsgi") / "log", application="wsgi_applications:app") as server:
        yield server


class Upload:
    """A request with a body, on a socket of its own."""

    def __init__(self, server: Server, path: str, *headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        head = "".join(f"{line}\r\n" for line in (f"POST {path} HTTP/1.1", "Host: test", "Connection: close", *headers, ""))
        self.socket.sendall(head.encode())

    def send(self, data: bytes) -> Upload:
        self.socket.sendall(data)
        return self

    def send_chunk(self, data: bytes) -> Upload:
        return self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def answer(self) -> tuple[int, bytes]:
        """Read the answer to its end; return the status and the content."""
        with closing(self.socket), self.socket.makefile("rb") as file:
            client = Client.__new__(Client)
            client._socket, client._file, client.headers = self.socket, file, {}
            return client.read_head(), client.read_body()


def answered_with(content: bytes, answer: tuple[int, bytes]) -> int:
    """Check that an application has read this content; return by how many bytes its process has grown meanwhile."""
    status, text = answer
    assert status == 200, text
    size, digest, grown = text.decode().split()
    assert (int(size), digest) == (len(content), hashlib.md5(content).hexdigest())
    return int(grown) * 1024


@frameworks
def test_hello(server: Server, framework: str) -> None:
    with server.get(f"/{framework}/hello/{server.key()}") as client:
        assert client.read_head() == 200
        assert client.read_body() == b"hello"
    if framework in ("raw", "flask"):
        assert client.headers["content-length"] == "5"


@frameworks
def test_rows(server: Server, framework: str) -> None:
    key = server.key()
    with server.get(f"/{framework}/rows/{key}") as client:
        assert client.read_head() == 200
        assert client.read_body() == ROWS
    server.reports.wait(key, "finally")


@pytest.mark.parametrize("framework", ["raw", "validated"])
def test_write(server: Server, framework: str) -> None:
    with server.get(f"/{framework}/write/{server.key()}") as client:
        assert client.read_head() == 200
        assert client.read_body() == ROWS


@pytest.mark.parametrize("framework", ["raw", "validated", "django"])
def test_files(server: Server, framework: str) -> None:
    with server.get(f"/{framework}/file/{server.key()}") as client:
        assert client.read_head() == 200
        assert client.read_body() == bytes(300_000)


@frameworks
def test_head(server: Server, framework: str) -> None:
    """The next answer on the connection shows that this one had no body."""
    with server.get(f"/{framework}/hello/{server.key()}", "HEAD") as client:
        assert client.read_head() in (200, 405)
        client._socket.sendall(b"GET /raw/hello/x HTTP/1.1\r\nHost: test\r\n\r\n")
        client.headers = {}
        assert client.read_head() == 200
        assert client.read_body() == b"hello"


@frameworks
def test_upload(server: Server, framework: str) -> None:
    content = hashlib.shake_128(framework.encode()).digest(3 * MEGABYTE)
    upload = Upload(server, f"/{framework}/upload/{server.key()}", f"Content-Length: {len(content)}", "Content-Type: text/plain")
    answered_with(content, upload.send(content).answer())


@pytest.mark.parametrize("framework", ["raw", "validated", "flask"])  # Django and Bottle read no body without a Content-Length
def test_chunked_upload(server: Server, framework: str) -> None:
    content = hashlib.shake_128(framework.encode()).digest(MEGABYTE)
    upload = Upload(server, f"/{framework}/upload/{server.key()}", "Transfer-Encoding: chunked")
    for start in range(0, len(content), 9_999):
        upload.send_chunk(content[start : start + 9_999])
    answered_with(content, upload.send(b"0\r\n\r\n").answer())


@pytest.mark.parametrize("framework", ["flask", "bottle", "django"])
def test_form(server: Server, framework: str) -> None:
    content = hashlib.shake_128(framework.encode()).digest(MEGABYTE)
    body = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + content + b"\r\n--limit--\r\n"
    headers = (f"Content-Length: {len(body)}", "Content-Type: multipart/form-data; boundary=limit")
    answered_with(content, Upload(server, f"/{framework}/form/{server.key()}", *headers).send(body).answer())


def test_an_upload_of_100_megabytes(server: Server) -> None:
    """It passes through a process that grows by a few: one for the window, and what the server itself holds."""
    piece = bytes(range(250)) * 4000
    upload = Upload(server, f"/raw/upload/{server.key()}", f"Content-Length: {100 * len(piece)}")
    for _ in range(100):
        upload.send(piece)
    assert answered_with(piece * 100, upload.answer()) < 20 * MEGABYTE


def test_an_answer_while_the_body_comes(server: Server) -> None:
    """The application answers each part of the body before the next one is sent."""
    upload = Upload(server, f"/raw/echo/{server.key()}", "Transfer-Encoding: chunked")
    with closing(upload.socket), upload.socket.makefile("rb") as file:
        for number in range(5):
            upload.send_chunk(bytes([number]) * 10_000)
            received = b""
            while len(received) < 10_000:
                if not number and not received:
                    while file.readline() != b"\r\n":
                        pass
                received += file.read(int(file.readline(), 16))
                file.readline()
            assert received == bytes([number]) * 10_000
        upload.send(b"0\r\n\r\n")


def test_expect_100_continue(server: Server) -> None:
    upload = Upload(server, f"/raw/upload/{server.key()}", "Content-Length: 5", "Expect: 100-continue")
    with upload.socket.makefile("rb", buffering=0) as file:
        assert file.readline().split()[1] == b"100"
        while file.readline().strip():
            pass
    answered_with(b"hello", upload.send(b"hello").answer())


def test_errors(server: Server) -> None:
    with server.get(f"/raw/early_error/{server.key()}") as client:
        assert client.read_head() == 500
    key = server.key()
    with server.get(f"/raw/late_error/{key}") as client:
        with pytest.raises((ConnectionError, IndexError)):
            client.read_head()
            client.read_body()
    server.reports.wait(key, "close")


@pytest.mark.parametrize("phase", ["middle", "paused"])
def test_client_leaves_during_the_answer(server: Server, phase: str) -> None:
    leave(server, f"/raw/{phase}", phase, ["start", "finally", "close"])


@pytest.mark.parametrize("framework", ["flask", "bottle", "django"])
def test_client_of_a_framework_leaves(server: Server, framework: str) -> None:
    leave(server, f"/{framework}/paused", "paused", ["start", "finally"])


def leave(server: Server, path: str, phase: str, events: list[str]) -> None:
    key = server.key()
    with server.get(f"{path}/{key}", receive_buffer=4096) as client:
        server.reports.wait(key, "start")
        if phase == "paused":
            server.reports.wait_until_quiet(0.1)
        else:
            client.read_head()
            client.read_chunk()
        left = client.leave()
    _, moment = server.reports.wait(key, events[-1])
    assert moment - left < PROMPT
    assert server.reports.events(key) == events


def test_client_leaves_during_its_upload(server: Server) -> None:
    key = server.key()
    upload = Upload(server, f"/raw/read/{key}", "Content-Length: 1000").send(b"the begin")
    server.reports.wait(key, "start")
    upload.socket.close()
    server.reports.wait(key, "SpoolBrokenError")
