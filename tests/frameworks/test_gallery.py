"""Each example of the gallery, with a real server and a real client."""

from __future__ import annotations

import csv
import io
import json
import os
import pwd
import select
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.servers import Server, running

GALLERY = Path(__file__).parents[2] / "docs" / "examples" / "gallery"
ROWS = [[str(number), str(number * number)] for number in range(100_000)]

Serve = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Run an example on a server, and return a client of it."""

    @contextmanager
    def serve(example: str, kind: str = "uvicorn", **environment: object) -> Iterator[Any]:
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        with (
            running(kind, tmp_path / "log", directory=GALLERY, application=f"{example}:app") as server,
            client_of(server) as client,
        ):
            yield client

    return serve


@contextmanager
def client_of(server: Server) -> Iterator[Any]:
    import httpx  # not needed to collect the tests, which are skipped without it

    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some files."""
    made = tmp_path / "folder"
    (made / "below").mkdir(parents=True)
    for number in range(50):
        (made / "below" / f"{number}.txt").write_bytes(b"%d\n" % number * 1000)
    return made


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file."""
    path = tmp_path / "table.csv"
    path.write_text("number,name\n" + "".join(f"{number},name {number}\n" for number in range(20_000)))
    return path


def test_examples_are_short() -> None:
    for path in GALLERY.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 25, path


def test_every_example_is_tested() -> None:
    source = Path(__file__).read_text()
    assert [path.stem for path in GALLERY.glob("*.py") if f'"{path.stem}"' not in source] == []


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn_trio"])
def test_csv_of_sqlite(serve: Serve, tmp_path: Path, kind: str) -> None:
    people = [(number, f'"{number}", é\n') for number in range(20_000)]
    with sqlite3.connect(tmp_path / "people.db") as database:
        database.execute("CREATE TABLE people (number INTEGER, name TEXT)")
        database.executemany("INSERT INTO people VALUES (?, ?)", people)
    database.close()
    with serve("csv_sqlite", kind, DATABASE=tmp_path / "people.db") as client:
        answer = client.get("/")
    assert list(csv.reader(io.StringIO(answer.text, newline=""))) == [["number", "name"], *([str(n), name] for n, name in people)]


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL server, which refuses to run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed")
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        owner = pwd.getpwnam("postgres")
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        for parent in [directory, *directory.parents][:4]:
            if parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o755)

    def run(program: str, *arguments: str) -> None:
        subprocess.run([*user, programs[-1] / program, *arguments], cwd=directory, check=True, stdout=subprocess.DEVNULL)

    data = str(directory / "data")
    run("initdb", "--no-sync", "--auth=trust", "--username=test", "-D", data)
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        yield f"postgresql://test@/postgres?host={directory}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def test_csv_of_postgresql(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    with postgresql(tmp_path_factory.mktemp("pg")) as database, serve("csv_psycopg", DATABASE=database) as client:
        rows = list(csv.reader(client.get("/").text.splitlines()))
    assert rows == [["number", "square"], *([str(number), str(number * number)] for number in range(1, 100_001))]


def test_zip_of_a_folder(serve: Serve, folder: Path) -> None:
    with serve("zip_folder", FOLDER=folder) as client:
        answer = client.get("/")
    assert "folder.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.testzip() is None
        assert file.read("below/7.txt") == b"7\n" * 1000
        assert len([name for name in file.namelist() if name.endswith(".txt")]) == 50


def test_tar_of_a_folder(serve: Serve, folder: Path) -> None:
    with serve("tar_folder", FOLDER=folder) as client:
        content = client.get("/").content
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as file:
        assert file.extractfile("folder/below/7.txt").read() == b"7\n" * 1000  # type: ignore[union-attr]
        assert len([name for name in file.getnames() if name.endswith(".txt")]) == 50


COUNTING = f"{sys.executable} -uc 'for n in range(3): print(n)'"
# It says its number, which the test watches, and then nothing.
SILENT = f"{sys.executable} -uc 'import os, time; print(os.getpid()); time.sleep(1000)'"


def test_events_of_a_child_process(serve: Serve) -> None:
    with serve("child_events", COMMAND=COUNTING) as client:
        answer = client.get("/")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text == "data: 0\n\ndata: 1\n\ndata: 2\n\nevent: exit\ndata: 0\n\n"


def test_a_silent_child_process_is_killed(serve: Serve) -> None:
    with serve("child_events", COMMAND=SILENT) as client:
        with client.stream("GET", "/") as answer:
            number = int(next(answer.iter_lines()).removeprefix("data: "))
            watched = os.pidfd_open(number)
        with open(watched, "rb") as file:
            assert select.select([file], [], [], 20)[0], "the child process was not killed"


class Model(BaseHTTPRequestHandler):
    """A language model, as far as its protocol goes."""

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["prompt"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in f"You said: {prompt}".split():
            self.wfile.write(b"data: %b\n\n" % json.dumps({"choices": [{"text": word}]}).encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *arguments: object) -> None:
        pass


def test_tokens_of_a_language_model(serve: Serve) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        try:
            with serve("tokens", MODEL=f"http://127.0.0.1:{model.server_port}/v1/completions") as client:
                answer = client.get("/ask", params={"prompt": "good morning"})
        finally:
            model.shutdown()
            thread.join()
    lines = [line for line in answer.text.splitlines() if not line.startswith(":")]  # a slow machine is given time by comments
    assert [line.removeprefix("data: ") for line in lines if line] == ["You", "said:", "good", "morning"]


def test_rows_of_arrow(serve: Serve, table: Path) -> None:
    import pyarrow.ipc

    with serve("arrow", TABLE=table) as client:
        content = client.get("/").content
    with pyarrow.ipc.open_stream(content) as reader:
        read = reader.read_all()
    assert read.column("number").to_pylist() == list(range(20_000))
    assert read.column("name")[7].as_py() == "name 7"


def test_rows_of_pandas(serve: Serve, table: Path) -> None:
    with serve("pandas_rows", TABLE=table) as client:
        lines = client.get("/").text.splitlines()
    assert [json.loads(line)["square"] for line in lines] == [number * number for number in range(20_000)]


UPLOAD = "".join(f"{number},{number}\r\n" for number in range(100_000)).encode()


def pieces(data: bytes) -> Iterator[bytes]:
    """Give an upload in pieces, so that it is sent chunked."""
    for start in range(0, len(data), 10_000):
        yield data[start : start + 10_000]


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn_trio"])
def test_a_flask_application(serve: Serve, kind: str) -> None:
    with serve("flask_application", kind) as client:
        assert list(csv.reader(client.get("/rows").text.splitlines())) == ROWS
        assert client.post("/total", content=UPLOAD).json() == {"total": sum(range(100_000))}
        assert client.post("/total", content=pieces(UPLOAD)).json() == {"total": sum(range(100_000))}


def test_a_fastapi_application(serve: Serve) -> None:
    with serve("fastapi_application") as client:
        assert list(csv.reader(client.get("/rows").text.splitlines())) == ROWS
        assert client.post("/total", content=pieces(UPLOAD)).json() == sum(range(100_000))


def test_a_django_application(serve: Serve) -> None:
    with serve("django_application") as client:
        answer = client.get("/rows")
        assert answer.status_code == 200, answer.text
        assert list(csv.reader(answer.text.splitlines())) == ROWS


@contextmanager
def program(example: str, run: str) -> Iterator[int]:
    """Run an example in a process of its own; yield the port that it is given."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    code = f"import asyncio, trio, {example} as example\nPORT = {port}\n{run}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(GALLERY), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        try:
            yield port
        finally:
            process.kill()


def connect(port: int) -> socket.socket:
    """Connect to a program that is starting."""
    for _ in range(1000):
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
    raise AssertionError("the program does not listen")


def test_raw_trio() -> None:
    run = "trio.run(trio.serve_tcp, example.handle, PORT)"
    with program("raw_trio", run) as port, connect(port) as client, client.makefile("rb") as file:
        for count in (3, 1000, 0):
            client.sendall(b"%d\n" % count)
            assert [file.readline() for _ in range(count)] == [b"%d,%d\r\n" % (n, n * n) for n in range(count)]
            assert file.readline() == b"done\r\n"


def test_guest_mode(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    run = f"beats = open({str(beats)!r}, 'ab', 0)\nasyncio.run(example.main(PORT, lambda: beats.write(b'.')))"
    with program("guest_mode", run) as port, connect(port) as client:
        before = beats.stat().st_size
        with client.makefile("rb") as file:
            assert sum(map(int, file)) == sum(range(1_000_000))
        assert beats.stat().st_size > before  # the host went on
