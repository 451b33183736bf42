"""Text through a SpoolWriter: nothing of it is lost."""

from __future__ import annotations

import csv
import gc
import io
import json
import threading
from collections.abc import Callable

import pytest

from support.spools import collect
from trio_spool import SpoolLimits, SpoolWriter, open_spool

SMALL = SpoolLimits(window=1000, batch=300)
ROWS = [[str(number), "ü" * (number % 5)] for number in range(500)]


def parsed(data: bytes, encoding: str = "utf-8") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(encoding), newline="")))


async def test_csv() -> None:
    def write(out: SpoolWriter) -> None:
        csv.writer(out.text()).writerows(ROWS)

    assert parsed(await collect(write, limits=SMALL)) == ROWS


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
async def test_an_encoding(encoding: str) -> None:
    def write(out: SpoolWriter) -> None:
        csv.writer(out.text(encoding)).writerows(ROWS)

    assert parsed(await collect(write, limits=SMALL), encoding) == ROWS


async def test_errors_and_line_ends_as_for_open() -> None:
    def write(out: SpoolWriter) -> None:
        print("ü\nü", file=out.text("ascii", errors="replace", newline="\r\n"))
        print("ü", file=out.text("ascii"))

    with pytest.raises(UnicodeEncodeError):
        await collect(write)
    assert await collect(lambda out: print("ü\nü", file=out.text("ascii", "replace", "\r\n"))) == b"?\r\n?\r\n"


async def test_text_and_bytes_in_turn() -> None:
    """A text file that is closed or dropped closes nothing else."""

    def write(out: SpoolWriter) -> None:
        text = out.text()
        for number in range(3):
            print("text", number, file=text)
            out.write(b"bytes\n")
        with out.text() as other:
            json.dump({"a": 1}, other)
        print(file=out.text())
        out.write(b"end")

    assert await collect(write) == b'text 0\nbytes\ntext 1\nbytes\ntext 2\nbytes\n{"a": 1}\nend'


async def test_nothing_is_held_back() -> None:
    go_on = threading.Event()

    def write(out: SpoolWriter) -> None:
        text = out.text()
        text.write("first")
        go_on.wait()

    async with open_spool(write, stop=go_on.set) as batches:
        assert await batches.receive() == b"first"


async def test_what_was_written_before_a_failure_is_received() -> None:
    def write(out: SpoolWriter) -> None:
        out.text().write("before")
        raise KeyError

    received = b""
    with pytest.raises(KeyError):
        async with open_spool(write) as batches:
            async for batch in batches:
                received += batch
    assert received == b"before"


async def test_a_text_file_ends_with_its_function() -> None:
    kept = []

    def write(out: SpoolWriter) -> None:
        kept.append(out.text())
        kept[0].write("x")

    assert await collect(write) == b"x"
    with pytest.raises(ValueError, match="producer function has ended"):
        kept[0].write("late")


@pytest.mark.parametrize("text", ["a,b", "ü" * 1000])
async def test_text_where_bytes_belong_says_what_to_do(text: str) -> None:
    with pytest.raises(TypeError, match=r"fragment 1 of a producer: a str, not bytes; encode it, or write it to the `text\(\)`"):
        await collect(lambda out: csv.writer(out).writerow([text]))
    with pytest.raises(TypeError, match=r"fragment 1 of a producer: a str, not bytes"):
        await collect([text])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"fragment 101 of a producer: a str, not bytes"):
        await collect([b"x"] * 100 + [text])  # type: ignore[list-item]


# Other files around it

kept: list[object] = []


def dropped(wrapper: io.IOBase) -> None:
    pass


def kept_for_long(wrapper: io.IOBase) -> None:
    kept.append(wrapper)


def kept_by_itself(wrapper: io.IOBase) -> None:
    class Holder:
        pass

    holder = Holder()
    holder.wrapper, holder.itself = wrapper, holder  # type: ignore[attr-defined]


WRAPPERS: dict[str, Callable[[SpoolWriter], io.IOBase]] = {
    "text": lambda out: io.TextIOWrapper(out, encoding="utf-8", newline=""),
    "buffered": lambda out: io.BufferedWriter(out),
    "text of buffered": lambda out: io.TextIOWrapper(io.BufferedWriter(out), encoding="utf-8", newline=""),
}


@pytest.mark.parametrize("keep", [dropped, kept_for_long, kept_by_itself])
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
async def test_a_file_around_it_that_is_not_flushed_loses_nothing(wrap, keep) -> None:
    def write(out: SpoolWriter) -> None:
        wrapper = wrap(out)
        keep(wrapper)
        if isinstance(wrapper, io.TextIOWrapper):
            csv.writer(wrapper).writerows(ROWS)
        else:
            wrapper.write("".join(f"{number},{text}\r\n" for number, text in ROWS).encode())

    gc.disable()
    try:
        assert parsed(await collect(write)) == ROWS
    finally:
        gc.enable()
        kept.clear()


async def test_no_search_without_a_file_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long in a large process."""
    searched = []
    monkeypatch.setattr(gc, "get_referrers", searched.append)

    def keeps(out: SpoolWriter) -> None:
        kept.append(out)
        out.write(b"x")

    def wraps(out: SpoolWriter) -> None:
        io.TextIOWrapper(out).write("x")

    try:
        assert await collect(keeps) == await collect(wraps) == b"x"
    finally:
        kept.clear()
    assert searched == []
