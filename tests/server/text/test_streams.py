"""What is streamed: all keys, and what happens."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio

from support.clocks import Clock
from support.text import talk
from trio_spool.mcbp import Opcode
from trio_spool.server.data import Accesses
from trio_spool.server.protocols.text._stats import _lines
from trio_spool.server.shared import EventKind, Events, Prefixes
from trio_spool.server.shared._events import MAX_WATCHERS, QUEUE_SIZE
from trio_spool.server.shared._prefixes import MAX_PREFIXES
from trio_spool.server.statistics import RawRow


@pytest.fixture
async def service(run_service: Any) -> Any:
    async with run_service(window=4000, batch=1000, drain_timeout=60) as served:
        yield served


class Lines:
    """A watcher."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._received = b""

    async def next(self) -> bytes:
        while b"\n" not in self._received:
            data = await self._raw.stream.receive_some(65536)
            if not data:
                return b""
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return re.sub(rb"ts=\d+\.\d{6} gid=\d+ ", b"", line)

    async def watch(self, kinds: bytes) -> None:
        await self._raw.send(b"watch " + kinds + b"\r\n")
        assert await self.next() == b"OK\r"


async def test_all_keys(service: Any) -> None:
    names = [b"k%05d" % number for number in range(3000)]
    await talk(service, b"".join(b"set %b 7 0 2 noreply\r\nab\r\n" % name for name in names))
    async with service.connect() as raw:
        await raw.call(Opcode.SET, key=b"a b\n", value=b"", extras=bytes(4) + (100).to_bytes(4, "big"))
    dump = (await talk(service, b"lru_crawler metadump all\r\nmn\r\n")).split(b"\n")
    assert re.fullmatch(rb"key=a%20b%0A exp=\d{10} la=\d{10} cas=\d+ fetch=no cls=1 size=\d+ flags=0", dump[0])
    assert [re.sub(rb"la=\d+ cas=\d+ ", b"", line) for line in dump[1:-3]] == [
        b"key=%b exp=-1 fetch=no cls=1 size=38 flags=7" % name for name in names
    ]
    assert dump[-3:] == [b"END\r", b"MN\r", b""]
    assert (await talk(service, b"lru_crawler mgdump hash\r\n")).split(b"\r\n") == [
        b"mg YSBiCg== b", *(b"mg " + name for name in names), b"EN", b""
    ]  # fmt: skip


async def test_what_crawlers_are_told(service: Any) -> None:
    sent = b"enable|disable|crawl all|crawl 1|tocrawl 5|tocrawl x|sleep 100|sleep x|sleep 9999999|metadump|metadump 3|no no|"
    answer = await talk(service, b"lru_crawler\r\n" + b"".join(b"lru_crawler %b\r\n" % words for words in sent.split(b"|")[:-1]))
    assert answer.split(b"\r\n") == [
        b"ERROR", b"OK", b"OK", b"OK", b"BADCLASS invalid class id", b"OK", b"CLIENT_ERROR bad command line format", b"OK",
        b"CLIENT_ERROR bad command line format", b"CLIENT_ERROR sleep must be one second or less", b"ERROR",
        b"BADCLASS invalid class id", b"ERROR", b"",
    ]  # fmt: skip


async def test_what_happens_to_items(service: Any) -> None:
    """A store looks for its item first, as in memcached."""
    get_a, get_b = b"item_get key=a status=not_found clsid=0 size=0", b"item_get key=b status=not_found clsid=0 size=0"
    found = b"item_get key=x%25%FF status=found clsid=1 size=3"
    steps = [
        (b"get a\r\n", [get_a]),
        (
            b"set x%\xff 0 100 3\r\nabc\r\n",
            [
                b"item_get key=x%25%FF status=not_found clsid=0 size=0",
                b"item_store key=x%25%FF status=stored cmd=set ttl=100 clsid=1 size=3",
            ],
        ),
        (b"get x%\xff b\r\n", [found, get_b]),
        (b"add x%\xff 0 0 1\r\nx\r\n", [found, b"item_store key=x%25%FF status=exists cmd=add ttl=0 clsid=1 size=1"]),
        (b"ms a 1 MA\r\nx\r\n", [get_a, b"item_store key=a status=not_stored cmd=append ttl=0 clsid=1 size=1"]),
        (b"mg b v\r\n", [get_b]),
        (b"cas b 0 0 1 5\r\nx\r\n", [get_b, b"item_store key=b status=not_found cmd=cas ttl=0 clsid=1 size=1"]),
        (b"delete b\r\n", []),
        (b"set big 0 0 99999999\r\n", [b"item_store key=big status=too_large cmd=set ttl=0 clsid=1 size=99999999"]),
    ]
    async with service.connect() as raw, service.connect() as other:
        lines = Lines(raw)
        await lines.watch(b"fetchers mutations deletions")
        for sent, expected in steps:
            await other.send(sent)
            assert await other.stream.receive_some(1000)
            for line in expected:
                assert (await lines.next()).replace(b" cfd=2", b"") == b"type=" + line
        async with service.connect() as binary:
            await binary.call(Opcode.SET, key=b"b", value=b"xy", extras=bytes(8))
            await binary.call(Opcode.GET, key=b"b")
            await binary.call(Opcode.DELETE, key=b"b")
        assert await lines.next() == b"type=item_store key=b status=stored cmd=set ttl=0 clsid=1 cfd=3 size=2"
        assert await lines.next() == b"type=item_get key=b status=found clsid=1 cfd=3 size=2"
        assert await lines.next() == b"type=deleted key=b cmd=delete clsid=1 cfd=3"


async def test_connections(service: Any) -> None:
    async with service.connect() as raw:
        lines = Lines(raw)
        await lines.watch(b"connevents evictions")
        async with service.connect() as other:
            port = other.stream.socket.getsockname()[1]
            assert await lines.next() == b"type=conn_new rip=127.0.0.1 rport=%d transport=tcp cfd=2" % port
        assert await lines.next() == b"type=conn_close rip=127.0.0.1 rport=%d transport=tcp reason=normal cfd=2" % port


async def test_a_connection_that_breaks_the_protocol(service: Any) -> None:
    async with service.connect() as raw:
        lines = Lines(raw)
        await lines.watch(b"connevents")
        for sent, reason in ((b"quit\r\n", b"normal"), (b"GET / HTTP/1.1\r\n", b"error"), (b"x" * 3000, b"error")):
            async with service.connect() as other:
                await other.send(sent)
                await other.rest()
            assert b"type=conn_new " in await lines.next()
            assert b" reason=%b cfd=" % reason in await lines.next()


async def test_groups_of_statistics_for_tools(service: Any) -> None:
    async with service.connect() as raw:
        await raw.send(b"set a 0 0 2\r\nxy\r\nset b%c 0 2000000000 1\r\nx\r\n")
        assert await raw.stream.receive_some(100) in (b"STORED\r\n", b"STORED\r\nSTORED\r\n")
        await trio.testing.wait_all_tasks_blocked()
        port = raw.stream.socket.getsockname()[1]
        answer = await talk(service, b"stats conns\r\n")
    lines = answer.split(b"\r\n")
    assert lines[:3] == [
        b"STAT 0:addr tcp:127.0.0.1:%d" % service.port, b"STAT 0:state conn_listening", b"STAT 0:secs_since_last_cmd 0"
    ]  # fmt: skip
    assert lines[3] == b"STAT 1:addr tcp:127.0.0.1:%d" % port
    assert b"STAT 2:state conn_read" in lines
    assert await talk(service, b"stats cachedump 1 0\r\n") == b"ITEM a [2 b; 0 s]\r\nITEM b%c [1 b; 2000000000 s]\r\nEND\r\n"
    assert await talk(service, b"stats cachedump 1 1\r\nstats cachedump 2 1\r\n") == b"ITEM a [2 b; 0 s]\r\nEND\r\nEND\r\n"
    assert await talk(service, b"stats cachedump\r\nstats cachedump x 1\r\nstats cachedump 64 1\r\n") == (
        b"CLIENT_ERROR bad command line\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR Illegal slab id\r\n"
    )


async def test_uses_by_prefix(service: Any) -> None:
    sent = (
        b"set foo:a 0 0 1\r\nx\r\nstats detail on\r\nset foo:a 0 0 1\r\nx\r\nset none 0 0 1\r\nx\r\nget foo:a foo:b none bar:x\r\ndelete foo:a\r\n"
        b"delete foo:zz\r\nadd foo:a 0 0 1\r\nx\r\nmg foo:a\r\nstats detail off\r\nget foo:a\r\nstats detail dump\r\n"
    )
    dump = b"PREFIX bar get 1 hit 0 set 0 del 0\r\nPREFIX foo get 3 hit 2 set 2 del 2\r\nEND\r\n"
    assert (await talk(service, sent)).endswith(b"END\r\n" + dump)
    async with service.connect() as raw:
        assert await raw.stat(b"detail dump") == {
            b"detailed": b"PREFIX bar get 1 hit 0 set 0 del 0\r\nPREFIX foo get 3 hit 2 set 2 del 2\r\nEND\r\n"
        }
    assert await talk(service, b"stats reset\r\nstats detail dump\r\n") == b"RESET\r\nEND\r\n"


def test_prefixes_have_a_bound() -> None:
    prefixes = Prefixes()
    for number in range(MAX_PREFIXES + 10):
        prefixes.find(b"p%d:k" % number).gets += 1
    assert len(prefixes.read()) == MAX_PREFIXES


async def test_watchers_come_and_go(service: Any, until: Any) -> None:
    assert await talk(service, b"watch nope\r\n") == b"ERROR\r\n"
    async with trio.open_nursery() as nursery:

        async def watch(number: int, *, task_status: Any) -> None:
            async with service.connect() as raw:
                await Lines(raw).watch(b"rawcmds fetchers")
                task_status.started()
                await trio.sleep_forever()

        for number in range(MAX_WATCHERS):
            await nursery.start(watch, number)
        assert service.inside.events.fetchers
        assert await talk(service, b"watch\r\n") == b"WATCHER_TOO_MANY log watcher limit reached\r\n"
        nursery.cancel_scope.cancel()
    await until(lambda: not len(service.inside.events))
    assert not service.inside.events.fetchers


async def test_a_watcher_does_not_keep_a_service_from_ending(service: Any) -> None:
    """Although it would wait for a minute for answers that are being sent."""
    async with service.connect() as raw:
        lines = Lines(raw)
        await lines.watch(b"fetchers")
        service.stop.set()
        with trio.fail_after(20):
            assert await lines.next() == b""


async def test_a_watcher_that_does_not_read_keeps_nobody_waiting(service: Any) -> None:
    """What it loses is counted, and it is told once it reads."""
    async with service.connect() as raw, service.connect() as other:
        lines = Lines(raw)
        await lines.watch(b"fetchers")
        key = b"k" * 240
        total = 0
        # More than all buffers of the system hold, so that some lines must be lost.
        while not any(watcher._lost for watcher in service.inside.events._watchers):
            await other.send(b"get %b\r\n" % key * 1000 + b"mn\r\n")
            received = b""
            while not received.endswith(b"MN\r\n"):
                received += await other.stream.receive_some(65536)
            total += 1000
        seen = lost = 0
        while seen + lost < total:
            line = await lines.next()
            if line.startswith(b"skipped="):
                lost += int(line[8:])
            else:
                assert line.startswith(b"type=item_get key=kkk")
                seen += 1
            if not seen % 500:  # what was lost is told with the next line
                await other.send(b"get %b\r\n" % key)
                total += 1
        assert lost > 0


async def test_the_queue_of_a_watcher_has_a_bound() -> None:
    events = Events(lambda: 5.0)
    watcher = events.add(frozenset({EventKind.EVICTIONS}))
    assert watcher is not None
    assert events.evictions
    assert not events.fetchers
    while not watcher._lost:
        events.evicted(b"k" * 200, 7, 3, 100, fetched=True)
    events.evicted(b"k" * 200, 7, 3, 100, fetched=True)
    data = await watcher.take()
    assert QUEUE_SIZE - 400 < len(data) <= QUEUE_SIZE
    assert data.startswith(b"ts=5.000000 gid=1 type=eviction key=%b fetch=yes ttl=7 la=3 clsid=1 size=100\n" % (b"k" * 200))
    events.evicted(b"last", 7, 3, 100, fetched=False)
    skipped, last = (await watcher.take()).splitlines()
    assert re.fullmatch(rb"skipped=2", skipped)
    assert b"key=last " in last
    events.remove(watcher)
    assert not events.evictions


def test_accesses_have_a_bound(clock: Clock) -> None:
    clock.now = 1_000_000.0
    accesses = Accesses(3, lambda: clock.now)
    for number in range(5):
        accesses.note(b"k%d" % number, 7)
    assert len(accesses) == 3
    assert accesses.find(b"k1", 7) is None
    assert accesses.find(b"k4", 7) == clock.now
    assert accesses.find(b"k4", 8) is None  # another version
    accesses.note(b"k2", 7)
    accesses.note(b"new", 7)
    assert accesses.find(b"k2", 7) is not None
    assert accesses.find(b"k3", 7) is None
    clock.now += 5.5
    assert accesses.since(b"k2", 7) == 5
    assert accesses.since(b"unseen", int((clock.now - 2.5) * 1e9)) == 2
    assert accesses.since(b"unseen", 2**64 - 1) == 0  # a CAS that a client has chosen


def test_most_statistics_come_in_one_piece() -> None:
    form = b"STAT %b %b\r\n"
    assert list(_lines([], form)) == [b"END\r\n"]
    rows = [RawRow(b"%d" % number, b"value") for number in range(100)]
    (piece,) = _lines(rows, form)
    assert piece == b"".join(form % row for row in rows) + b"END\r\n"
    pieces = list(_lines(rows * 100, form))
    assert b"".join(pieces) == b"".join(form % row for row in rows * 100) + b"END\r\n"
    assert {len(each) // 1024 for each in pieces[:-1]} == {16}
