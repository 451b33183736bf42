"""How the log of ``trio-spool serve`` looks, what goes into it, and what becomes of it when nobody reads it."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from support.commands import run, run_json
from support.process import command
from trio_spool.cli._log_writer import LogWriter
from trio_spool.cli._logging import logging_to_stderr

HOSTILE = 'a"b\nforged=1\x1b[31m\x9b\u202e\ud800 =\x00'
MEMORY = ("--engine", "memory", "--listen", "tcp://127.0.0.1:0")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LIMIT = 60


class Output:
    """A file that a log is written to, which may be full, closed, or wait."""

    def __init__(self) -> None:
        self.written = b""
        self.error: type[Exception] | None = None
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()

    def write(self, data: memoryview) -> int:
        if not self.open.is_set():
            self.waiting.set()
            self.open.wait(LIMIT)
        if self.error is not None:
            raise self.error(28, "no space")
        self.written += data[:7]  # as much as a pipe happens to take
        return min(7, len(data))

    def flush(self) -> None:
        pass

    @property
    def lines(self) -> list[str]:
        return self.written.decode().splitlines()


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def writer(output: Output) -> Iterator[LogWriter]:
    writer = LogWriter(output, lambda count: f"lost {count}", max_waiting=100)
    yield writer
    output.error = None
    output.open.set()
    assert writer.close(LIMIT)


def logged(capfdbinary: Any, log: Callable[[], object], format_: str = "json", level: str = "debug") -> str:
    """Return what is written to standard error while a function logs."""
    with logging_to_stderr(level, format_):
        log()
    return capfdbinary.readouterr().err.decode()


# The writer


def test_lines_are_written_whole_and_in_order(writer: LogWriter, output: Output) -> None:
    for number in range(8):
        writer.put(f"line {number}")
    assert writer.flush(LIMIT)
    assert output.lines == [f"line {number}" for number in range(8)]


def test_an_output_that_nobody_reads_keeps_nobody_waiting(writer: LogWriter, output: Output) -> None:
    output.open.clear()
    writer.put("first")
    assert output.waiting.wait(LIMIT)
    for number in range(1000):
        writer.put(f"{number:010}")  # none of these waits, or this test would
    assert not writer.flush(0.01)
    assert writer.lost == 990  # what waits has a bound
    output.open.set()
    assert writer.flush(LIMIT)
    assert output.lines == ["first", "lost 990", *(f"{number:010}" for number in range(10))]
    assert writer.lost == 0


def test_lines_that_can_not_be_written_are_counted(writer: LogWriter, output: Output) -> None:
    output.error = OSError
    for _ in range(3):
        writer.put("lost")
    assert writer.flush(LIMIT)
    assert writer.lost == 3
    output.error = None
    writer.put("seen")
    assert writer.flush(LIMIT)
    assert output.lines == ["lost 3", "seen"]


def test_a_line_has_a_bound(output: Output) -> None:
    writer = LogWriter(output, str)
    writer.put("x" * 100_000)
    assert writer.close(LIMIT)
    assert len(output.written) < 65_600
    assert output.lines[0].endswith("x [cut off]")


def test_closing_without_a_reader_gives_up(output: Output) -> None:
    writer = LogWriter(output, str)
    output.open.clear()
    writer.put("never")
    assert not writer.close(0.01)
    output.open.set()


# The formats


def test_an_object_on_each_line(capfdbinary) -> None:
    log = structlog.get_logger("trio_spool")
    text = logged(
        capfdbinary, lambda: log.warning("it happens", key="k", count=1, share=0.5, none=None, more={"a": [1]}, raw=b"\xff")
    )
    line = json.loads(text)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert TIME.fullmatch(line.pop("timestamp"))
    assert line == {
        "level": "warning", "logger": "trio_spool", "event": "it happens", "key": "k", "count": 1, "share": 0.5, "none": None,
        "more": {"a": [1]}, "raw": "\\xff",
    }  # fmt: skip


class Nameless:
    def __str__(self) -> str:
        raise ValueError("it has no name")


def test_each_line_is_json_whatever_is_logged(capfdbinary) -> None:
    ring: list[object] = []
    ring.append(ring)
    log = structlog.get_logger("trio_spool")

    def all_of_it() -> None:
        log.info("numbers", endless=math.inf, none=math.nan, within=[math.inf])
        log.info("keys", more={b"a": 1})
        log.info("ring", ring=ring)
        log.info("nameless", nameless=Nameless())
        logging.getLogger("broken").warning("%d", "no number")
        log.info("long", **{f"field{number}": "\x1b" * 2000 for number in range(20)})
        log.error("longer", exception="\x1b" * 40_000)

    lines = [json.loads(line, parse_constant=pytest.fail) for line in logged(capfdbinary, all_of_it).splitlines()]
    unformatted = "a line of the log can't be formatted"
    assert [line["event"] for line in lines] == ["numbers", "keys", "ring", unformatted, unformatted, "long", "longer"]
    assert lines[0].items() >= {"endless": "inf", "none": "nan", "within": "[inf]"}.items()
    assert [(line["of"], line["error"]) for line in lines[3:5]] == [("trio_spool", "ValueError"), ("broken", "TypeError")]
    assert all(set(lines[5][f"field{number}"]) <= {"\x1b", "…"} for number in range(20))


def test_numbers_for_people(capfdbinary) -> None:
    log = structlog.get_logger("trio_spool")
    text = logged(capfdbinary, lambda: log.info("x", a=3.4e-05, b=0.0, c=-0.5, d=1e9, e=1234.5, f=True, g=10**20), "text")
    assert text.split()[4:] == ["a=0.000034", "b=0", "c=-0.5", "d=1000000000.0", "e=1234.5", "f=true", "g=100000000000000000000"]


def test_lines_for_people(capfdbinary) -> None:
    log = structlog.get_logger("trio_spool")
    text = logged(
        capfdbinary, lambda: log.info("it happens", key="k", words="two words", none=None, empty="", more={"a": 1}), "text"
    )
    assert re.fullmatch(
        rf'{TIME.pattern} \[info    \] it happens +key=k words="two words" none=null empty="" more={{"a": 1}}\n', text
    )


@pytest.mark.parametrize("format_", ["text", "json"])
def test_nobody_else_can_write_a_line_or_a_field(capfdbinary, format_: str) -> None:
    def log() -> None:
        logger = structlog.get_logger("trio_spool")
        logger.info(HOSTILE, key=HOSTILE, nested={"key": [HOSTILE]})
        logging.getLogger("other").info("%s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("failed")

    lines = logged(capfdbinary, log, format_).splitlines()
    beginnings = [line for line in lines if TIME.match(line)] if format_ == "text" else lines
    assert len(beginnings) == 3
    assert all(line.startswith("    ") for line in set(lines) - set(beginnings))  # a traceback
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", "".join(lines))
    if format_ == "text":
        assert r'key="a\"b\\x0aforged=1' in lines[0]
    else:
        assert json.loads(lines[0])["nested"]["key"] == [HOSTILE]


@pytest.mark.parametrize("format_", ["text", "json"])
def test_everybody_uses_the_same_formatter(capfdbinary, format_: str) -> None:
    def log() -> None:
        logging.getLogger("trio.abc").warning("from %s", "Trio")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("take care", UserWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: 1 / 0, name="poor")
        thread.start()
        thread.join()
        sys.unraisablehook(type("Raised", (), {"err_msg": None, "object": 5, "exc_value": ValueError("ignored")}))  # type: ignore[arg-type]
        logging.getLogger("broken").warning("%d", "no number")

    text = logged(capfdbinary, log, format_)
    events = {"from Trio", "Python warns", "a thread has ended with an error", "an error was ignored", "can't be formatted"}
    assert {event for event in events if event in text} == events
    assert "ZeroDivisionError" in text and "take care" in text and "UserWarning" in text
    assert ("logger=trio.abc" if format_ == "text" else '"logger": "trio.abc"') in text


def test_levels(capfdbinary) -> None:
    def log() -> None:
        for level in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger("trio_spool"), level)(level)
            getattr(logging.getLogger("other"), level)(level)

    for number, level in enumerate(("debug", "info", "warning", "error")):
        seen = [json.loads(line)["level"] for line in logged(capfdbinary, log, level=level).splitlines()]
        assert seen == [each for each in ("debug", "info", "warning", "error")[number:] for _ in range(2)]


def test_nothing_stays_set_up(capfdbinary) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, structlog.get_config(), warnings.showwarning)
    logged(capfdbinary, lambda: None)
    assert before == (logging.getLogger().handlers[:], logging.getLogger().level, structlog.get_config(), warnings.showwarning)


# The process


@contextmanager
def serving(words: list[str], **kwargs: Any) -> Iterator[subprocess.Popen[str]]:
    """A server, which is killed at the end of the block if it has not ended."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **kwargs) as process:
        try:
            yield process
        finally:
            process.kill()


def serve(*arguments: str, **kwargs: Any) -> AbstractContextManager[subprocess.Popen[str]]:
    return serving(command("serve", *MEMORY, *arguments), **kwargs)


def address_of(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    assert line.startswith("listening on tcp://"), line
    return line.split("//")[1].strip()


def test_the_first_and_the_last_line(tmp_path: Path) -> None:
    words = command("serve", tmp_path / "data", "--listen", "tcp://127.0.0.1:0", "--fsync", "no")
    for count in (0, 1):
        with serving(words, stderr=subprocess.PIPE) as process:
            address = address_of(process)
            run("set", address, "key", "value")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=LIMIT)
        first, *_, stopping, last = map(json.loads, errors.splitlines())
        assert first["event"] == "started"
        assert first["listening"] == [f"tcp://{address}"]
        assert first["data_dir"] == str(tmp_path / "data")
        assert (first["engine"], first["fsync"], first["items"], first["users"]) == ("lmdb", "no", {"default": count}, None)
        assert first["pid"] == process.pid
        assert first["version"] and first["python"].startswith("3.")
        assert (stopping["event"], stopping["signal"]) == ("stopping", "SIGTERM")
        assert (last["event"], last["reason"], last["level"]) == ("stopped", "SIGTERM", "info")
        assert last["seconds"] > 0


@pytest.mark.parametrize(
    ("variables", "colored"), [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal(variables: dict[str, str], colored: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    with serve(stderr=theirs, env=environment) as process:
        os.close(theirs)
        address_of(process)
        seen = b""
        while b"listening" not in seen:
            seen += os.read(ours, 1000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
    os.close(ours)
    assert (b"\x1b[" in seen) == colored
    assert b"started" in seen and b'{"timestamp' not in seen


def test_the_level_and_the_format_change_at_a_hangup(tmp_path: Path) -> None:
    config = tmp_path / "spool.toml"
    config.write_text('log-level = "warning"\nlog-format = "json"\n')
    with serve("--config", str(config), stderr=subprocess.PIPE) as process:
        address_of(process)
        config.write_text('log-level = "info"\nlog-format = "text"\n')
        process.send_signal(signal.SIGHUP)
        first = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT)
    assert re.search(r'settings reloaded +changed={"log_level": "info"}', first)
    assert "stopping" in errors and "stopped" in errors


def test_verbose_is_stronger(start) -> None:
    with start(*MEMORY, "-v", "--log-level", "error") as process:
        assert "stopping" in process.stop()[1]


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """A pipe that is full, and that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    for size in (1000, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(size))
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_nobody_reads_stops_nothing(full_pipe: int) -> None:
    """Neither the service, whose log is full, nor its end."""
    with serve("-v", stderr=full_pipe) as process:
        address = address_of(process)
        for number in range(20):
            run("set", address, f"key{number}", "value")
        assert run_json("get", address, "key0")["value"] == "value"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0


def test_nor_the_end_of_one_that_has_failed(full_pipe: int, tmp_path: Path) -> None:
    """It has a line to print that is none of the log."""
    words = command("serve", tmp_path / "data", "--listen", "tcp://127.0.0.1:0")
    with serving(words, stderr=full_pipe) as process:
        address_of(process)
        shutil.rmtree(tmp_path / "data")
        assert process.wait(LIMIT) == 74


def test_nor_the_end_of_one_that_has_to_be_ended(full_pipe: int) -> None:
    script = "from trio_spool.server._signals import end_soon; end_soon('the disk hangs', 0.01); import threading; threading.Event().wait(100)"
    assert subprocess.run([sys.executable, "-c", script], stderr=full_pipe, timeout=LIMIT).returncode == 74


@pytest.mark.parametrize("format_", ["text", "json"])
def test_the_line_that_says_how_many_were_lost(capfdbinary, format_: str) -> None:
    with logging_to_stderr("error", format_) as log:
        line = log.lost(5)
    if format_ == "json":
        assert TIME.fullmatch(json.loads(line).pop("timestamp"))
        assert json.loads(line).items() >= {"level": "warning", "event": "lines of the log were lost", "lines": 5}.items()
    else:
        assert re.fullmatch(rf"{TIME.pattern} \[warning \] lines of the log were lost +lines=5", line)
