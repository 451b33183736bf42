"""The classic commands: for the same bytes, the same answers as memcached's."""

from __future__ import annotations

import pytest
import trio

from support.engines import Hooks
from support.text import talk
from trio_spool.mcbp import Opcode, encode_request

BAD = b"CLIENT_ERROR bad command line format\r\n"
USAGE = b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
NOT_NUMERIC = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
LARGE = b"SERVER_ERROR object too large for cache\r\n"
EXPTIME = b"CLIENT_ERROR invalid exptime argument\r\n"


@pytest.fixture(params=["memory", "remote"])
async def service(request, run_service):
    kind = "memory" if request.param == "memory" else Hooks(local=False).kind()
    async with run_service(engine=kind, max_item_size=1000, max_buffered=4 * 1024 * 1024) as served:
        yield served


CASES = [
    (b"set k 5 0 3\r\nabc\r\nget k nope k\r\n", b"STORED\r\nVALUE k 5 3\r\nabc\r\nVALUE k 5 3\r\nabc\r\nEND\r\n"),
    (b"get nope\r\nget\r\ngets\r\ngat\r\ngat 1\r\ngat x k\r\n", b"END\r\nERROR\r\nERROR\r\nERROR\r\nEND\r\n" + EXPTIME),
    (b"add k 1 0 1\r\na\r\nadd k 1 0 1\r\nb\r\nget k\r\n", b"STORED\r\nNOT_STORED\r\nVALUE k 1 1\r\na\r\nEND\r\n"),
    (b"replace k 1 0 1\r\na\r\nset k 1 0 1\r\na\r\nreplace k 2 0 1\r\nb\r\nget k\r\n", b"NOT_STORED\r\nSTORED\r\nSTORED\r\nVALUE k 2 1\r\nb\r\nEND\r\n"),
    (b"append k 1 0 1\r\na\r\nset k 1 0 1\r\nb\r\nappend k 9 0 1\r\nc\r\nprepend k 9 0 1\r\na\r\nget k\r\n",
     b"NOT_STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nVALUE k 1 3\r\nabc\r\nEND\r\n"),
    (b"cas k 0 0 1 5\r\na\r\nset k 0 0 1\r\na\r\ncas k 0 0 1 5\r\nb\r\ncas k 0 0 1 0\r\nb\r\ncas no 0 0 1 0\r\nb\r\n",
     b"NOT_FOUND\r\nSTORED\r\nEXISTS\r\nEXISTS\r\nNOT_FOUND\r\n"),
    (b"delete k\r\nset k 0 0 1\r\na\r\ndelete k\r\ndelete k 0\r\ndelete k 5\r\ndelete k x y z\r\ndelete\r\n",
     b"NOT_FOUND\r\nSTORED\r\nDELETED\r\nNOT_FOUND\r\n" + USAGE + b"ERROR\r\nERROR\r\n"),
    (b"incr k 1\r\nset k 0 0 2\r\n10\r\nincr k 5\r\ndecr k 6\r\nget k\r\ndecr k 20\r\nincr k 1000\r\nget k\r\n",
     b"NOT_FOUND\r\nSTORED\r\n15\r\n9\r\nVALUE k 0 2\r\n9 \r\nEND\r\n0\r\n1000\r\nVALUE k 0 4\r\n1000\r\nEND\r\n"),
    (b"set k 0 0 20\r\n18446744073709551615\r\nincr k 3\r\nset k 0 0 1\r\nx\r\nincr k 1\r\ndecr k 1\r\nincr k x\r\nincr k -1\r\nincr k\r\n",
     b"STORED\r\n2\r\nSTORED\r\n" + NOT_NUMERIC * 2 + b"CLIENT_ERROR invalid numeric delta argument\r\n" * 2 + b"ERROR\r\n"),
    (b"touch k 10\r\nset k 0 0 1\r\na\r\ntouch k 10\r\ntouch k x\r\ntouch k -1\r\nget k\r\ntouch k\r\n",
     b"NOT_FOUND\r\nSTORED\r\nTOUCHED\r\n" + EXPTIME + b"TOUCHED\r\nEND\r\nERROR\r\n"),
    (b"set k 7 0 1\r\na\r\ngat 100 k no k\r\ngat -1 k\r\nget k\r\n",
     b"STORED\r\nVALUE k 7 1\r\na\r\nVALUE k 7 1\r\na\r\nEND\r\nVALUE k 7 1\r\na\r\nEND\r\nEND\r\n"),
    (b"set k 0 -1 1\r\na\r\nget k\r\nset k 0 99999999999 1\r\nb\r\nget k\r\n", b"STORED\r\nEND\r\nSTORED\r\nVALUE k 0 1\r\nb\r\nEND\r\n"),
    (b"flush_all\r\nflush_all 0\r\nflush_all -5\r\nflush_all x\r\nflush_all 1 2 3\r\n", b"OK\r\nOK\r\nOK\r\n" + EXPTIME + b"ERROR\r\n"),
    (b"set k 0 0 1\r\na\r\nflush_all 1000\r\nget k\r\nflush_all\r\nget k\r\n", b"STORED\r\nOK\r\nVALUE k 0 1\r\na\r\nEND\r\nOK\r\nEND\r\n"),
    (b"verbosity\r\nverbosity 1\r\nverbosity x\r\n", b"ERROR\r\nOK\r\n" + BAD),
    (b"mn\r\nmn a\r\nshutdown\r\nshutdown graceful\r\n", b"MN\r\nMN\r\n" + b"ERROR: shutdown not enabled\r\n" * 2),
    (b"stats nope\r\nstats detail\r\nstats reset\r\nstats detail on\r\nstats detail dump\r\n",
     b"ERROR\r\nCLIENT_ERROR usage: stats detail on|off|dump\r\nRESET\r\nOK\r\nEND\r\n"),
    (b"slabs\r\nslabs automove x\r\nslabs automove 0\r\nslabs reassign x 1\r\nslabs reassign 1 2\r\nlru\r\n",
     b"ERROR\r\n" + BAD + b"OK\r\n" + BAD + b"BADCLASS invalid src or dst class id\r\nERROR\r\n"),
    (b"\r\nx\r\nVERSION\r\nbogus a b\r\n", b"ERROR\r\n" * 4),
    # What memcached says nothing to
    (b"set k 0 0 1 noreply\r\na\r\nget k\r\nadd k 0 0 1 noreply\r\nb\r\ncas k 0 0 1 5 noreply\r\nb\r\nappend k 0 0 1 noreply\r\nb\r\n"
     b"get k\r\nincr k 1 noreply\r\nincr k x noreply\r\ntouch k 0 noreply\r\ntouch k x noreply\r\ndelete k 5 noreply\r\n"
     b"delete k noreply\r\nflush_all noreply\r\nflush_all 0 noreply\r\nverbosity 0 noreply\r\nget k\r\n",
     b"VALUE k 0 1\r\na\r\nEND\r\nVALUE k 0 2\r\nab\r\nEND\r\nEND\r\n"),
    (b"set noreply 0 0 1\r\nx\r\ndelete noreply\r\nget noreply\r\n", b"STORED\r\nDELETED\r\nEND\r\n"),
    # What is malformed
    (b"set k 0 0\r\nset k 0 0 -1\r\nset k x 0 1\r\nset k 0 0 1 noreply more\r\n", b"ERROR\r\n" + BAD * 2 + b"ERROR\r\n"),
    (b"set k 0 0 1\r\nab\r\nget k\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n"),
    (b"set k 0 0 1\r\nab\nget k\r\n", b"CLIENT_ERROR bad data chunk\r\nEND\r\n"),
    (b"get " + b"k" * 251 + b"\r\nget a " + b"k" * 251 + b" b\r\nincr " + b"k" * 251 + b" 1\r\ndelete " + b"k" * 251 + b" noreply\r\n", BAD * 3),
    (b"set k 0 0 1\r\na\r\nset k 0 0 1001\r\n" + b"v" * 1001 + b"\r\nget k\r\n", b"STORED\r\n" + LARGE + b"END\r\n"),
    (b"set k 0 0 1\r\na\r\nadd k 0 0 1001\r\n" + b"v" * 1001 + b"\r\nget k\r\n", b"STORED\r\n" + LARGE + b"VALUE k 0 1\r\na\r\nEND\r\n"),
    (b"set k 0 0 1001 noreply\r\n" + b"v" * 1001 + b"\r\nget k\r\n", b"END\r\n"),
    (b"set a\x01\xff\tb 0 0 1\r\na\r\nget a\x01\xff\tb\r\n", b"STORED\r\nVALUE a\x01\xff\tb 0 1\r\na\r\nEND\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), CASES)
async def test_answers(service, sent: bytes, expected: bytes) -> None:
    assert await talk(service, sent) == expected


@pytest.mark.parametrize(("sent", "expected"), CASES[:4])
async def test_answers_byte_by_byte(service, sent: bytes, expected: bytes) -> None:
    assert await talk(service, *[bytes([byte]) for byte in sent]) == expected


async def test_version(service) -> None:
    assert await talk(service, b"version\r\n") == b"VERSION " + service.inside.version.encode() + b"\r\n"


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n\r\n"])
async def test_requests_of_http_are_hung_up_on(service, line: bytes) -> None:
    async with service.connect() as raw:
        await raw.send(line + b"set k 0 0 1\r\na\r\n")
        assert await raw.rest() == b""
    assert await talk(service, b"get k\r\n") == b"END\r\n"


async def test_an_endless_line(service) -> None:
    async with service.connect() as raw:
        await raw.send(b"x" * 3000)
        assert await raw.rest() == b"CLIENT_ERROR line is too long\r\n"


@pytest.mark.parametrize("depth", [10, 500])
async def test_pipelines(service, depth: int) -> None:
    sent = b"".join(b"set k%d 0 0 100\r\n%b\r\nget k%d nope\r\n" % (n, b"%0100d" % n, n) for n in range(depth))
    expected = b"".join(b"STORED\r\nVALUE k%d 0 100\r\n%b\r\nEND\r\n" % (n, b"%0100d" % n) for n in range(depth))
    async with service.connect() as raw, trio.open_nursery() as nursery:
        nursery.start_soon(raw.send, sent + b"quit\r\n")
        assert await raw.rest() == expected


async def test_many_keys_in_a_line(service) -> None:
    await talk(service, b"".join(b"set k%d 0 0 1000\r\n%b\r\n" % (n, b"%01000d" % n) for n in range(1000)))
    keys = [b"k%d" % n for n in range(0, 2000, 2)]
    expected = b"".join(b"VALUE %b 0 1000\r\n%b\r\n" % (key, b"%01000d" % int(key[1:])) for key in keys[:500])
    assert await talk(service, b"get " + b" ".join(keys) + b"\r\n") == expected + b"END\r\n"
    assert await talk(service, b"gat 100 " + b" ".join(keys) + b"\r\n") == expected + b"END\r\n"
    # Behind a store, whose effect they see
    assert await talk(service, b"set k0 0 0 1\r\nx\r\nget " + b" ".join(keys) + b"\r\n") == (
        b"STORED\r\nVALUE k0 0 1\r\nx\r\n" + expected[len(b"VALUE k0 0 1000\r\n") + 1002 :] + b"END\r\n"
    )


async def test_one_store_for_both_protocols(service) -> None:
    """The same values, flags, expiries and CAS."""
    async with service.connect() as raw:
        extras = (0xDEADBEEF).to_bytes(4, "big") + (100).to_bytes(4, "big")
        stored = await raw.call(Opcode.SET, key=b"k", value=b"41", extras=extras)
        assert await talk(service, b"gets k\r\n") == b"VALUE k 3735928559 2 %d\r\n41\r\nEND\r\n" % stored.cas
        assert await talk(service, b"cas k 7 0 2 %d\r\n42\r\nincr k 1\r\n" % stored.cas) == b"STORED\r\n43\r\n"
        found = await raw.call(Opcode.GET, key=b"k")
        assert (found.value, found.extras) == (b"43", (7).to_bytes(4, "big"))
        touched = await talk(service, b"touch k 100\r\ngets k\r\n")
        assert touched == b"TOUCHED\r\nVALUE k 7 2 %d\r\n43\r\nEND\r\n" % found.cas  # which is still the same


async def test_a_locked_item(service) -> None:
    async with service.connect() as raw:
        await raw.call(Opcode.SET, key=b"k", value=b"1", extras=bytes(8))
        assert (await raw.call(Opcode.GET_LOCKED, key=b"k", extras=(15).to_bytes(4, "big"))).status == 0
        locked = b"SERVER_ERROR the item is locked\r\n"
        assert (
            await talk(service, b"set k 0 0 1\r\n2\r\nincr k 1\r\ndelete k\r\ntouch k 5\r\nappend k 0 0 1\r\n1\r\n") == locked * 5
        )
        assert await talk(service, b"get k\r\nadd k 0 0 1\r\n2\r\n") == b"VALUE k 0 1\r\n1\r\nEND\r\nNOT_STORED\r\n"


async def test_statistics(service) -> None:
    answer = await talk(service, b"set k 0 0 1\r\na\r\nget k\r\nget nope\r\nstats\r\n")
    rows = dict(line.split(b" ", 2)[1:] for line in answer.split(b"\r\n") if line.startswith(b"STAT "))
    assert answer.endswith(b"\r\nEND\r\n")
    assert (rows[b"cmd_set"], rows[b"cmd_get"], rows[b"get_hits"], rows[b"get_misses"]) == (b"1", b"2", b"1", b"1")
    assert b"STAT maxconns " in await talk(service, b"stats settings\r\n")
    for group in (b"items", b"slabs", b"sizes"):
        assert (await talk(service, b"stats " + group + b"\r\n")).endswith(b"END\r\n")


async def test_both_protocols_on_one_port(service) -> None:
    async with service.connect() as raw:
        await raw.send(encode_request(Opcode.NOOP))
        assert (await raw.receive()).status == 0
        assert await talk(service, b"mn\r\n") == b"MN\r\n"
        assert [connection.describe()["session"] for connection in service.inside.connections] == ["classic"]


async def test_flush_can_be_switched_off(run_service) -> None:
    async with run_service(disable_flush=True) as service:
        assert await talk(service, b"flush_all\r\nflush_all noreply\r\n") == b"CLIENT_ERROR flush_all not allowed\r\n"


async def test_an_item_of_several_that_can_not_be_touched(service) -> None:
    """One line stands for the end, so that the client finds the next reply."""
    await talk(service, b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\nset c 0 0 1\r\n3\r\n")
    async with service.connect() as raw:
        assert (await raw.call(Opcode.GET_LOCKED, key=b"b", extras=(15).to_bytes(4, "big"))).status == 0
        assert await talk(service, b"gat 5 a b c\r\nmn\r\n") == b"VALUE a 0 1\r\n1\r\nSERVER_ERROR the item is locked\r\nMN\r\n"


async def test_a_million_bytes_of_keys_take_no_more_memory_than_that(service) -> None:
    """A client that does not read its items would hold hundreds of thousands of keys otherwise."""
    await talk(service, b"set kk 0 0 1000\r\n" + b"v" * 1000 + b"\r\n")
    line = b"get" + b" kk" * 300_000 + b"\r\n"
    async with service.connect() as raw, trio.open_nursery() as nursery:
        nursery.start_soon(raw.send, line)
        answer = b"VALUE kk 0 1000\r\n" + b"v" * 1000 + b"\r\n"
        received = b""
        while len(received) < len(answer) * 3000:
            received += await raw.stream.receive_some(1 << 20)
        assert received[: len(answer) * 3000] == answer * 3000
        (connection,) = service.inside.connections
        if service.inside.buckets.default.engine.local:
            await trio.testing.wait_all_tasks_blocked()  # it waits for the client to read
            assert 500_000 < connection.held() < 3_000_000
