"""The meta commands: for the same bytes, the same answers as memcached's."""

from __future__ import annotations

import re

import pytest
import trio

import support.text
from support.engines import Hooks
from trio_spool.mcbp import Opcode

BAD = b"CLIENT_ERROR bad command line format\r\n"
DUPLICATE = b"CLIENT_ERROR duplicate flag\r\n"
INVALID = b"CLIENT_ERROR invalid or duplicate flag\r\n"
TOKEN = b"CLIENT_ERROR bad token in command line format\r\n"
FOO = b"set foo 3 0 2\r\nhi\r\n"
STORED = b"STORED\r\n"
OPAQUE = b"CLIENT_ERROR opaque token too long\r\n"


@pytest.fixture(params=["memory", "remote"])
async def service(request, run_service):
    kind = "memory" if request.param == "memory" else Hooks(local=False).kind()
    async with run_service(engine=kind, max_item_size=1000, max_buffered=4 * 1024 * 1024) as served:
        yield served


async def talk(service, *sent: bytes) -> bytes:
    """Send some requests and ``quit``, and return everything that comes back, with every CAS but 0 as N, and TTLs in tens."""
    answer = re.sub(rb"(?<= )c[1-9]\d*", b"cN", await support.text.talk(service, *sent))
    return re.sub(rb"(?<= )t(\d+)", lambda match: b"t%d" % -(-int(match[1]) // 10 * 10), answer)


CASES = [
    (b"mg foo\r\nmg foo v q\r\nmn\r\nmg foo Oabc k\r\nmg foo q k O1\r\nmn\r\n", b"EN\r\nMN\r\nEN Oabc kfoo\r\nMN\r\n"),
    (FOO + b"mg foo\r\nmg foo v\r\nmg foo s v f t\r\nmg foo k c Oabc q\r\nmg foo Oabc t k s f\r\n",
     STORED + b"HD\r\nVA 2\r\nhi\r\nVA 2 s2 f3 t-1\r\nhi\r\nHD kfoo cN Oabc\r\nHD Oabc t-1 kfoo s2 f3\r\n"),
    (b"mg\r\nms\r\nmd\r\nma\r\nme\r\nms foo\r\nmx foo\r\nmgx foo\r\n", b"ERROR\r\n" * 4 + BAD * 2 + b"ERROR\r\n" * 2),
    (b"mg foo v v\r\nmg foo !\r\nmg foo Tx\r\nmg foo q Tx\r\nmg foo MSS\r\nmg foo Fx\r\nmg foo Jx\r\nmg foo Dx\r\nmg foo b\r\n",
     DUPLICATE + b"CLIENT_ERROR invalid flag\r\n" + TOKEN * 2 + b"CLIENT_ERROR incorrect length for M token\r\n" + BAD
     + b"CLIENT_ERROR invalid numeric initial value\r\nCLIENT_ERROR invalid numeric delta value\r\nCLIENT_ERROR error decoding key\r\n"),
    (b"mg foo O" + b"a" * 31 + b"\r\nmg foo O" + b"a" * 32 + b"\r\nmd foo O" + b"a" * 32 + b"\r\nmg " + b"k" * 251 + b"\r\n",
     b"EN O" + b"a" * 31 + b"\r\n" + OPAQUE * 2 + BAD),
    (b"mg foo k s t f c v h l q u O1 b C1 D1 E1 F1 I J1\r\n", b"CLIENT_ERROR options flags are too long\r\n"),
    # ms
    (b"ms foo 2 T90 F5 c k O9 q\r\nhi\r\nmg foo t f v\r\nms foo 2 c k O9 s\r\nho\r\nms foo 2 O9 k c\r\nho\r\n",
     b"VA 2 t90 f5\r\nhi\r\nHD cN kfoo O9 s2\r\nHD O9 kfoo cN\r\n"),
    (b"ms foo 2 q\r\nhix\r\nms foo 2 q !\r\nhi\r\nms foo 2 MZ\r\nhi\r\nms foo x\r\nms foo S2\r\nmn\r\n",
     b"CLIENT_ERROR bad data chunk\r\nERROR\r\nCLIENT_ERROR invalid flag\r\nCLIENT_ERROR invalid mode for ms M token\r\n" + BAD * 2 + b"MN\r\n"),
    (b"ms a 1 ME\r\n1\r\nms a 1 ME\r\n2\r\nms a 1 ME q k\r\n2\r\nms b 1 MR\r\n1\r\nms b 1 MA\r\n1\r\nms b 1 MP q\r\n1\r\n"
     b"ms a 1 MA c s\r\n3\r\nms a 1 MP k\r\n0\r\nmg a v\r\nms a 1 MR\r\n9\r\nms a 1 MS\r\n8\r\nmg a v\r\n",
     b"HD\r\nNS\r\nNS ka\r\nNS\r\nNS\r\nNS\r\nHD cN s2\r\nHD ka\r\nVA 3\r\n013\r\nHD\r\nHD\r\nVA 1\r\n8\r\n"),
    (b"ms a 1 C5\r\n1\r\nms a 1 C5 MA\r\n1\r\nms a 1 C5 ME\r\n1\r\nms a 1 C5 c k O1\r\n2\r\nms a 1 C0 c\r\n2\r\nms a 1 C5 MR\r\n2\r\n"
     b"ms a 1 C5 MA\r\n2\r\nms a 1 C5 ME\r\n2\r\n", b"NF\r\nNS\r\nHD\r\nEX c0 ka O1\r\nEX c0\r\nEX\r\nEX\r\nNS\r\n"),
    (b"ms a 2 MA N30 F7 s\r\nab\r\nms a 2 MA N30 s\r\ncd\r\nmg a v f t\r\n", b"HD s2\r\nHD s4\r\nVA 4 f7 t30\r\nabcd\r\n"),
    (b"set a 0 0 1\r\n1\r\nms a 1001 q\r\n" + b"v" * 1001 + b"\r\nmg a\r\n", STORED + b"SERVER_ERROR object too large for cache\r\nEN\r\n"),
    # md
    (b"md a\r\nmd a q\r\nmd a k O1 q\r\nset a 0 0 1\r\n1\r\nmd a C5\r\nmd a C0 q k\r\nmd a k O1\r\nset a 0 0 1\r\n1\r\nmd a q\r\nmg a\r\n",
     b"NF\r\nNF\r\nNF ka O1\r\nSTORED\r\nEX\r\nEX ka\r\nHD ka O1\r\nSTORED\r\nEN\r\n"),
    (b"md a v v\r\nmd a !\r\nmd a Tx\r\nma a Dx\r\nma a MX\r\nmd " + b"k" * 251 + b"\r\n",
     INVALID * 4 + b"CLIENT_ERROR invalid mode for ma M token\r\n" + BAD),
    (FOO + b"md foo x\r\nmg foo v f\r\nmd foo I x\r\nmg foo v\r\n", STORED + b"HD\r\nVA 0 f0\r\n\r\nHD\r\nVA 0 X W\r\n\r\n"),
    # ma
    (b"ma n\r\nma n q\r\nma n k O1\r\nma n N90 v t\r\nma n v t c k O2\r\nma n MD v\r\nma n M- D5 v\r\nma n M+ D50 v\r\nma n C5\r\nma n q\r\nma n v q\r\n",
     b"NF\r\nNF\r\nNF kn O1\r\nVA 1 t90\r\n0\r\nVA 1 t90 cN kn O2\r\n1\r\nVA 1\r\n0\r\nVA 1\r\n0\r\nVA 2\r\n50\r\nEX\r\n"),
    (b"ma j N0 J13 v t\r\nma j N0 J13 v t\r\nma j T300 v t\r\nmg j t\r\n" + FOO + b"ma foo q\r\n",
     b"VA 2 t-1\r\n13\r\nVA 2 t-1\r\n14\r\nVA 2 t300\r\n15\r\nHD t300\r\n" + STORED + b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    (b"set d 0 0 2\r\n10\r\nma d MD v\r\nmg d s v\r\n", STORED + b"VA 1\r\n9\r\nVA 2 s2\r\n9 \r\n"),
    # Keys in base64
    (b"ms 44OG44K544OI 2 b\r\npo\r\nmg 44OG44K544OI v\r\nmg 44OG44K544OI b v k\r\nmg 44OG44K544OI b k v O1\r\nget \xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88\r\n"
     b"ms 44OG44K544OI 2 b k\r\npo\r\nmd 44OG44K544OI b k\r\nmg 44OG44K544OI b k\r\nms YSBi 1 b\r\nx\r\nmg YSBi v k b\r\n",
     b"HD\r\nEN\r\nVA 2 k44OG44K544OI b\r\npo\r\nVA 2 k44OG44K544OI b O1\r\npo\r\nVALUE \xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88 0 2\r\npo\r\nEND\r\n"
     b"HD k44OG44K544OI b\r\nHD k44OG44K544OI b\r\nEN k44OG44K544OI b\r\nHD\r\nVA 1 kYSBi b\r\nx\r\n"),
    # Who makes a new value
    (b"mg v s c v N30 t\r\nmg v s t c v N30\r\nmg v v\r\nms v 2 C5000 T120\r\nnu\r\nms v 2 T120\r\nmu\r\nmg v s k t c v N30\r\n"
     b"mg v s t c v N30 R130\r\nmg v s t c v N30 R130\r\nmg v t\r\nms v 4 T300\r\nzuuu\r\nmg v R30 t\r\nmg v q N30\r\n",
     b"VA 0 s0 cN t30 W\r\n\r\nVA 0 s0 t30 cN Z\r\n\r\nVA 0 Z\r\n\r\nEX\r\nHD\r\nVA 2 s2 kv t120 cN\r\nmu\r\nVA 2 s2 t120 cN W\r\nmu\r\n"
     b"VA 2 s2 t120 cN Z\r\nmu\r\nHD t120 Z\r\nHD\r\nHD t300\r\nHD\r\n"),
    (FOO + b"mg foo R30\r\nmg foo T30 t\r\nmg foo R30\r\nmg foo R31\r\nmg foo R31\r\nmg foo T0 t\r\nmg foo T-1\r\nmg foo\r\n",
     STORED + b"HD\r\nHD t30\r\nHD\r\nHD W\r\nHD Z\r\nHD t-1 Z\r\nHD Z\r\nEN\r\n"),
    (b"set i 0 0 3\r\nmoo\r\nmd i I T30\r\nmg i s t c v\r\nmg i s t c v\r\nms i 1 T90 C0\r\nf\r\nms i 1 I T90 C1\r\nf\r\nmg i s t c v\r\n"
     b"ms i 1 T90\r\ng\r\nmg i s t c v\r\n",
     STORED + b"HD\r\nVA 3 s3 t30 cN X W\r\nmoo\r\nVA 3 s3 t30 cN Z X\r\nmoo\r\nEX\r\nHD\r\nVA 1 s1 t30 cN Z X\r\nf\r\nHD\r\nVA 1 s1 t90 cN\r\ng\r\n"),
    (b"set i 0 0 3\r\nmoo\r\nmd i I q\r\nmg i\r\nmg i\r\nmd i I\r\nmg i q\r\nget i\r\nset i 0 0 1\r\nx\r\nmg i\r\nmd no I q\r\nmd i I C1\r\n",
     STORED + b"HD X W\r\nHD Z X\r\nHD\r\nHD X W\r\nVALUE i 0 3\r\nmoo\r\nEND\r\nSTORED\r\nHD\r\nNF\r\nEX\r\n"),
    (FOO + b"md foo I\r\n" + b"mg foo\r\n" * 3 + FOO + b"mg foo\r\n", STORED + b"HD\r\nHD X W\r\n" + b"HD Z X\r\n" * 2 + STORED + b"HD\r\n"),
    # Accesses
    (b"set h 0 0 1\r\nx\r\nmg h h l t\r\nmg h h l\r\nmg h u h\r\nset h 0 0 1\r\nx\r\nmg h u h\r\nmg h h\r\nmg h h\r\nget h\r\nmg nope h l\r\n",
     STORED + b"HD h0 l0 t-1\r\nHD h1 l0\r\nHD h1\r\nSTORED\r\nHD h0\r\nHD h0\r\nHD h1\r\nVALUE h 0 1\r\nx\r\nEND\r\nEN\r\n"),
    (b"set h 0 0 1\r\nx\r\nmg h u h\r\nget h\r\nmg h u h\r\n" + b"set h 0 0 1\r\nx\r\nmg h u h\r\ngat 0 h\r\nmg h u h\r\n",
     STORED + b"HD h0\r\nVALUE h 0 1\r\nx\r\nEND\r\nHD h1\r\nSTORED\r\nHD h0\r\nVALUE h 0 1\r\nx\r\nEND\r\nHD h1\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), CASES)
async def test_answers(service, sent: bytes, expected: bytes) -> None:
    assert await talk(service, sent) == expected


@pytest.mark.parametrize(("sent", "expected"), CASES)
async def test_answers_one_by_one(service, sent: bytes, expected: bytes) -> None:
    """Without pipelining, reads are not those behind a mutation, and there are no runs."""
    async with service.connect() as raw:
        for line in sent.splitlines(keepends=True):
            await raw.send(line)
            await trio.testing.wait_all_tasks_blocked()
    # The store has another state by now than at the beginning; what counts is that nothing has failed.
    assert service.inside.counters.command_failures == 0


async def test_runs_are_answered_as_single_requests_are(service) -> None:
    await talk(
        service, b"".join(b"set k%d %d 0 3\r\n%03d\r\n" % (n, n % 3, n) for n in range(0, 100, 2)) + b"md k8 I\r\nmg k50 N5\r\n"
    )
    for flags in (b"", b" v", b" v f", b" q", b" k v q", b" s c k f v", b" Ox v k", b" t v", b" h v"):
        lines = [b"mg k%d%b\r\n" % (n, flags) for n in range(100)]
        before = await talk(service, b"mg k8 v\r\n")
        alone = [await talk(service, line) for line in lines] if flags == b" v f" else None
        together = await talk(service, b"".join(lines))
        assert b" X" in together
        if alone is not None:
            assert together == b"".join(alone)
        assert together.count(b"\r\n") == (b" v" in flags) * 50 + (50 if b" q" in flags else 100), before


async def test_one_of_many_clients_wins(service) -> None:
    """However many ask at the same time, for an item that is missing, stale, or about to expire."""
    await talk(service, FOO + b"md foo I\r\nms soon 1 T20\r\nx\r\n")
    for line in (b"mg foo v\r\n", b"mg nope N30 v\r\n", b"mg soon R30 v\r\n"):
        answers: list[bytes] = []

        async def ask(line: bytes = line, answers: list[bytes] = answers) -> None:
            answers.append(await talk(service, line * 3))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert b"".join(answers).count(b" W\r\n") == 1
        assert b"".join(answers).count(b" Z") == 59


async def test_a_chosen_cas(service) -> None:
    async with service.connect() as raw:
        await raw.send(
            b"ms e 2 E973\r\nji\r\nmg e c\r\nms e 2 c C973 E4000\r\nlo\r\nmg v s c v N30 E9876\r\nmg v c E5\r\nmd e E5678 I\r\nmg e c\r\n"
            b"ma n v N0 c E4321 J5\r\nma n C4321 c v\r\nma n c v E8765\r\nms e 1 MA E6000 c\r\nx\r\nmg e c C6000 v\r\nmg e C1 v\r\nquit\r\n"
        )
        answer = await raw.rest()
    lines = answer.split(b"\r\n")
    assert lines[:9] == [
        b"HD",
        b"HD c973",
        b"HD c4000",
        b"VA 0 s0 c9876 W",
        b"",
        b"HD c9876 Z",
        b"HD",
        b"HD c5678 X W",
        b"VA 1 c4321",
    ]
    assert lines[9] == b"5"
    assert lines[10] != b"VA 1 c4321"
    assert lines[11:] == [b"6", b"VA 1 c8765", b"7", b"HD c6000", b"HD c6000", b"VA 3", b"lox", b""]


async def test_marks_are_no_datatype(service) -> None:
    async with service.connect() as raw:
        await talk(service, FOO + b"md foo I\r\nmg nope N30\r\n")
        for key in (b"foo", b"nope"):
            assert (await raw.call(Opcode.GET, key=key)).datatype == 0
            assert (await raw.call(Opcode.GET_META, key=key, extras=b"\2")).extras[-1] == 0


async def test_marks_are_not_in_scans(run_service, tmp_path) -> None:
    for options in ({"engine": "memory"}, {"data_dir": tmp_path / "data"}):
        async with run_service(**options) as service:
            await talk(service, FOO + b"md foo I\r\nmg nope N30\r\n")
            for keys_only in (False, True):
                with service.inside.buckets.default.engine.snapshot(keys_only=keys_only) as snapshot:
                    assert [record[4] for record in snapshot.records()] == [0, 0]


async def test_marks_survive_a_restart(run_service, tmp_path) -> None:
    async with run_service(data_dir=tmp_path / "data") as service:
        assert (
            await talk(service, FOO + b"md foo I\r\nset bar 0 0 1\r\nx\r\nmd bar I\r\nmg bar\r\n")
            == STORED + b"HD\r\n" + STORED + b"HD\r\nHD X W\r\n"
        )
    async with run_service(data_dir=tmp_path / "data") as service:
        assert await talk(service, b"mg bar h\r\nmg foo\r\nmg foo\r\n") == b"HD h0 Z X\r\nHD X W\r\nHD Z X\r\n"


async def test_what_is_known_of_an_item(service) -> None:
    answer = await talk(service, FOO + b"me foo\r\nmg foo\r\nme foo\r\nme Zm9v b\r\nme nope\r\n")
    line = rb"ME (foo|Zm9v) exp=-1 la=\d+ cas=\d+ fetch=(yes|no) cls=1 size=5\r\n"
    assert re.fullmatch(STORED + line + b"HD\r\n" + line + line + b"EN\r\n", answer)
    assert re.findall(line, answer) == [(b"foo", b"no"), (b"foo", b"yes"), (b"Zm9v", b"yes")]


async def test_a_locked_item(service) -> None:
    async with service.connect() as raw:
        await talk(service, FOO + b"md foo I\r\n")
        assert (await raw.call(Opcode.GET_LOCKED, key=b"foo", extras=(15).to_bytes(4, "big"))).status == 0
        locked = b"SERVER_ERROR the item is locked\r\n"
        assert await talk(service, b"ms foo 1\r\nx\r\nmd foo q\r\nma foo\r\nmg foo T30\r\nmd foo I\r\n") == locked * 5
        assert await talk(service, b"mg foo v c\r\nmg foo R30 v\r\n") == b"VA 2 cN X\r\nhi\r\nVA 2 X\r\nhi\r\n"
