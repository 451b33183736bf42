"""The same bytes to memcached and to this server: the answers are the same, but for what the documentation says differs."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool.testing import running_server

MEMCACHED = shutil.which("memcached")
pytestmark = pytest.mark.skipif(MEMCACHED is None, reason="Debian's memcached is not installed")
BIG = 1024 * 1024


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """A memcached and a server of ours, with the same limit for values."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with (
        subprocess.Popen([str(MEMCACHED), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "root"]) as process,
        running_server(thread=True, max_item_size=BIG - 100, max_buffered=64 * BIG) as ours,
    ):
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            yield port, ours.port
        finally:
            process.terminate()


def talk(port: int, data: bytes) -> bytes:
    """Send some bytes and ``quit``, and return all that comes back, with every CAS but 0 as N, and TTLs in tens."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(data + b"\r\nquit\r\n")
        received = b""
        try:
            while piece := connection.recv(1 << 20):
                received += piece
        except ConnectionResetError:
            received += b"<reset>"
    received = re.sub(rb"(?<= )c[1-9]\d*", b"cN", received)
    received = re.sub(rb"(VALUE \S+ \d+ \d+) \d+\r", rb"\1 N\r", received)
    return re.sub(rb"(?<= )t(\d+)", lambda match: b"t%d" % -(-int(match[1]) // 10 * 10), received)


KEYS = st.sampled_from([b"a", b"b", b"c", b"n", b"k" * 250, b"k" * 251, b"x\x01\xff", b""])
# For a long key in a get, memcached drops the answers to the requests before it: that is tested apart.
SHORT_KEYS = KEYS.filter(lambda key: len(key) <= 250)
NUMBERS = st.sampled_from([b"0", b"1", b"5", b"-1", b"+3", b"x", b"", b"100", b"1x", b"2147483648", b"18446744073709551615"])
QUIET = st.sampled_from([b"", b"", b"", b" noreply", b" x", b" noreply noreply"])
BLOCKS = st.sampled_from([b"", b"1", b"10", b"abc", b"5 ", b"18446744073709551615", b"x\r\ny"])
LENGTHS = st.sampled_from([b"", b"", b"", b"", b"1", b"-1", b"x", b"2147483647"])
# What changes the time left comes before what asks for it: the documentation says what is different otherwise.
FLAGS = st.lists(
    st.sampled_from(
        b"v k s f c t q h T30 T0 N30 N0 R20 R90 O1 Oab C1 C0 F3 MS ME MA MP MR MI MD M+ M- MX D2 J7 I u Tx ! b".split(b" ")
    ),
    max_size=5,
).map(lambda flags: b"".join(b" " + flag for flag in sorted(flags, key=lambda flag: flag[:1] not in b"TN")))


def _stores(command: bytes, key: bytes, flags: bytes, expiry: bytes, block: bytes, length: bytes, quiet: bytes) -> bytes:
    return b"%b %b %b %b %b%b\r\n%b\r\n" % (command, key, flags, expiry, length or b"%d" % len(block), quiet, block)


# What the documentation says differs: flags over 32 bits and expiries over 31 are left out.
SMALL = st.sampled_from([b"0", b"1", b"7", b"x", b""])
EXPIRIES = st.sampled_from([b"0", b"-1", b"100", b"x", b"-100"])
COMMANDS = st.one_of(
    st.builds(_stores, st.sampled_from([b"set", b"add", b"replace", b"append", b"prepend"]), KEYS, SMALL, EXPIRIES, BLOCKS, LENGTHS, QUIET),
    st.builds(lambda k, c, b, q: b"cas %b 0 0 %d %b%b\r\n%b\r\n" % (k, len(b), c, q, b), KEYS, NUMBERS, BLOCKS, QUIET),
    st.builds(lambda c, keys: c + b"".join(b" " + key for key in keys) + b"\r\n", st.sampled_from([b"get", b"gets", b"gat 100", b"gats 0", b"gat x"]), st.lists(SHORT_KEYS, max_size=4)),
    st.builds(lambda c, k, n, q: b"%b %b %b%b\r\n" % (c, k, n, q), st.sampled_from([b"incr", b"decr", b"delete"]), KEYS, NUMBERS, QUIET),
    st.builds(lambda k, n, q: b"touch %b %b%b\r\n" % (k, n, q), KEYS, EXPIRIES, QUIET),
    st.builds(lambda k, q: b"delete %b%b\r\n" % (k, q), KEYS, QUIET),
    st.builds(lambda c, k, f: b"%b %b%b\r\n" % (c, k, f), st.sampled_from([b"mg", b"md"]), KEYS, FLAGS),
    # memcached replies to a quiet ma that creates the number, and looks at the CAS only if there is a value.
    st.builds(lambda k, f: b"ma %b%b\r\n" % (k, f), KEYS, FLAGS.filter(lambda flags: b" q" not in flags and b" C1" not in flags)),
    # Later versions than 1.6.18 return the size, and create what is appended to; so does this server.
    st.builds(lambda k, f, b, n: b"ms %b %b%b\r\n%b\r\n" % (k, n or b"%d" % len(b), f, b), KEYS, FLAGS.filter(lambda flags: b" s" not in flags and b" N" not in flags), BLOCKS, LENGTHS),
    st.sampled_from([b"mn\r\n", b"\r\n", b"no such\r\n", b"verbosity x\r\n", b"flush_all x\r\n", b"flush_all 0\r\n", b"get  a   b\n", b"slabs\r\n"]),
)  # fmt: skip


def _is_comparable(requests: list[bytes]) -> bool:
    """Whether memcached 1.6.18 answers as later ones do: it takes a key in base64 for what it was stored as."""
    return b" b" not in b"".join(requests) and b"" not in requests


@given(st.lists(COMMANDS, min_size=1, max_size=12))
def test_the_same_answers(ports: tuple[int, int], requests: list[bytes]) -> None:
    if not _is_comparable(requests):
        return
    data = b"flush_all\r\nset n 0 0 2\r\n10\r\n" + b"".join(requests)
    theirs, ours = (talk(port, data) for port in ports)
    assert ours == theirs


@pytest.mark.parametrize(
    "data",
    [
        b"set big 0 0 1048577\r\n" + b"v" * 1048577 + b"\r\nget big",
        b"set big 0 0 1\r\nx\r\nms big 1048577 q\r\n" + b"v" * 1048577 + b"\r\nget big",
        b"set big 0 0 1\r\nx\r\nadd big 0 0 1048577\r\n" + b"v" * 1048577 + b"\r\nget big",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nset a 0 0 1\r\nx",
        b"get" + b" a" * 20_000,
        b"".join(b"set k%d 0 0 3\r\nabc\r\nget k%d\r\n" % (number, number) for number in range(3000)),
        b"get a " + b"k" * 251 + b" b",
        b"mg a k s t f c v h q u O1 b C1 D1 F1 J1 I MS L P",
    ],
)
def test_large_and_odd(ports: tuple[int, int], data: bytes) -> None:
    theirs, ours = (talk(port, data) for port in ports)
    assert ours == theirs
