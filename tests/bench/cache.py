"""A cache: how often it has what is asked for, against a Debian memcached with the same bytes, in one run.

The client asks for 100 keys at once, by the text protocol, and stores what it has not got: read-through. Both get the same requests.
Hits are counted after the first quarter, in which caches fill. A hit ratio does not depend on how fast anything is.

For each trace, the hit ratio, that of the bytes, and the most that the file took, against its bound. Then what a restart costs: a
second server is started anew in the middle. Written to bench-results: a plot of the hit ratios over time.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
from peer import memcached, spool_server
from report import Row

# The bound of each cache. memcached's own default; with much less, the pages that it gives each slab class at first exceed it.
BOUND = 64 * 1024 * 1024
BATCH = 100
VALUE = os.urandom(32 * 1024)
KEY = b"key:%010d"
RESULTS = Path("bench-results")
OURS, OURS_IN_MEMORY, THEIRS, RESTARTED = "trio-spool", "trio-spool in memory", "memcached", "trio-spool, restarted"


@attrs.frozen
class Trace:
    """What is asked for.

    Attributes:
        name: What it is called.
        exponent: Of Zipf's law, by which keys are chosen.
        keys: How many keys there are.
        size: The size of all values in bytes; None for 50 B to 20 kB, as many in each octave.
        shift: The part of the keys by which the ranks of all have moved at the end.
        scan: Which part of the batches asks for keys that nobody asks for again.
        target: The least hits, against memcached's.
    """

    name: str
    exponent: float
    keys: int
    size: int | None = None
    shift: float = 0.0
    scan: float = 0.0
    target: float = 0.97

    def size_of(self, number: int) -> int:
        """Return the size of the value of a key."""
        return self.size if self.size is not None else int(50 * 400 ** random.Random(number * 7919 + 13).random())

    def batches(self, seed: int, requests: int) -> Iterator[list[int]]:
        """Yield the numbers of keys that are asked for together."""
        chance = random.Random(seed)
        numbers = list(range(self.keys))
        chance.shuffle(numbers)  # so that popular keys are not neighbours
        weights = list(itertools.accumulate(1 / (rank + 1) ** self.exponent for rank in range(self.keys)))
        scanned = self.keys
        for start in range(0, requests, BATCH):
            if chance.random() < self.scan:
                yield list(range(scanned, scanned + BATCH))
                scanned += BATCH
                continue
            moved = int(start / requests * self.shift * self.keys)
            ranks = (bisect_left(weights, chance.random() * weights[-1]) for _ in range(BATCH))
            yield [numbers[(rank + moved) % self.keys] for rank in ranks]


# Values of 3.3 kB on average: five times the bound. Those of 100 B are as many.
_MIXED, _SMALL = BOUND * 5 // 3300, BOUND * 4 // 150
TRACES = (
    Trace("mixed sizes, Zipf 0.9", 0.9, _MIXED),
    Trace("mixed sizes, Zipf 1.0", 1.0, _MIXED),
    Trace("mixed sizes, Zipf 1.1", 1.1, _MIXED),
    Trace("mixed sizes, Zipf 1.0, shifting", 1.0, _MIXED, shift=0.5),
    Trace("mixed sizes, Zipf 1.0, with scans", 1.0, _MIXED, scan=0.2),
    Trace("100 B, Zipf 0.9", 0.9, _SMALL, size=100, target=0.92),
)


class Cache:
    """A client of a cache, and what it has counted.

    Args:
        port: The port of the cache.

    Attributes:
        hits: How many keys were found.
        hit_bytes: The bytes of their values.
        history: The hit ratio of each part of the trace.
    """

    def __init__(self, port: int) -> None:
        self.hits = self.hit_bytes = 0
        self.history: list[float] = []
        self.connect(port)

    def connect(self, port: int) -> None:
        """Go on with another server."""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", 1 << 20)

    def ask(self, sizes: dict[int, int]) -> tuple[int, int]:
        """Ask for keys, given with the sizes of their values; store what is missing; return the keys found, and their bytes."""
        self._socket.sendall(b"get " + b" ".join(KEY % number for number in sizes) + b"\r\n")
        missing = dict(sizes)
        found = found_bytes = 0
        while (line := self._file.readline()) != b"END\r\n":
            _, key, _, size = line.split()
            value = self._file.read(int(size) + 2)
            number = int(key[4:])
            assert missing.pop(number) == int(size) == len(value) - 2
            found, found_bytes = found + 1, found_bytes + int(size)
        if missing:
            stores = (b"set %b 0 0 %d noreply\r\n%b\r\n" % (KEY % number, size, VALUE[:size]) for number, size in missing.items())
            self._socket.sendall(b"".join(stores) + b"mn\r\n")
            while (line := self._file.readline()) != b"MN\r\n":
                raise RuntimeError(f"a store was refused: {line!r}")
        return found, found_bytes


def play(trace: Trace, seed: int, requests: int) -> tuple[list[Row], dict[str, list[float]]]:
    """Ask all caches for the keys of a trace, and return the figures and the histories of the hit ratios."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bound = ("--max-size", str(BOUND))
        ours, _ = stack.enter_context(spool_server("--fsync", "no", *bound, str(directory / "ours")))
        in_memory, _ = stack.enter_context(spool_server("--engine", "memory", *bound))
        restarted = ExitStack()
        stack.callback(restarted.close)
        again, _ = restarted.enter_context(spool_server("--fsync", "no", *bound, str(directory / "restarted")))
        theirs = stack.enter_context(memcached("-m", str(BOUND >> 20)))
        caches = {OURS: Cache(ours), OURS_IN_MEMORY: Cache(in_memory), RESTARTED: Cache(again)}
        if theirs is not None:
            caches[THEIRS] = Cache(theirs)
        asked = asked_bytes = longest = 0
        part = dict.fromkeys(caches, 0)
        for number, batch in enumerate(trace.batches(seed, requests)):
            sizes = {key: trace.size_of(key) for key in batch}
            counts = number * BATCH >= requests // 4
            if number * BATCH == requests // 2 // BATCH * BATCH:
                restarted.close()
                again, _ = restarted.enter_context(spool_server("--fsync", "no", *bound, str(directory / "restarted")))
                caches[RESTARTED].connect(again)
            for name, cache in caches.items():
                hits, hit_bytes = cache.ask(sizes)
                part[name] += hits
                if counts:
                    cache.hits, cache.hit_bytes = cache.hits + hits, cache.hit_bytes + hit_bytes
            if counts:
                asked, asked_bytes = asked + len(sizes), asked_bytes + sum(sizes.values())
            if number % 50 == 49:
                longest = max(longest, (directory / "ours" / "data.mdb").stat().st_size)
                for name, cache in caches.items():
                    cache.history.append(part[name] / (50 * BATCH))
                    part[name] = 0
        rows = _rows(trace, caches, asked, asked_bytes)
        rows.append(Row("cache", trace.name, "file against its bound", longest / BOUND, "", None, "≤ 1.3"))
        return rows, {name: cache.history for name, cache in caches.items()}


def _rows(trace: Trace, caches: dict[str, Cache], asked: int, asked_bytes: int) -> list[Row]:
    other = caches.get(THEIRS)
    rows = []
    for name, cache in caches.items():
        against = caches[OURS] if name == RESTARTED else other
        ratio = None if against is None or against is cache or not against.hits else cache.hits / against.hits
        target = "≥ 0.99 of without" if name == RESTARTED else f"≥ {trace.target}" if name == OURS else ""
        rows.append(Row("cache", trace.name, f"{name}: hits", cache.hits / asked, "of keys", ratio, target))
        if name != RESTARTED:
            ratio = None if other is None or other is cache or not other.hit_bytes else cache.hit_bytes / other.hit_bytes
            rows.append(Row("cache", trace.name, f"{name}: bytes hit", cache.hit_bytes / asked_bytes, "of bytes", ratio))
    return rows


def run(quick: bool) -> list[Row]:
    """Play every trace, with seeds that are new each time, and print them so that they can be played again."""
    requests = 150_000 if quick else 800_000
    seed = int(os.environ.get("TRIO_SPOOL_CACHE_SEED", random.randrange(1 << 32)))
    print(f"TRIO_SPOOL_CACHE_SEED={seed}", file=sys.stderr)
    rows: list[Row] = []
    histories = {}
    for trace in TRACES:
        measured, histories[trace.name] = play(trace, seed, requests)
        rows += measured
    RESULTS.mkdir(exist_ok=True)
    plot(histories, RESULTS / "cache.svg")
    return rows


def plot(histories: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Plot the hit ratios over time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(histories), 1, figsize=(6, 2.2 * len(histories)), sharex=True)
    for axis, (name, history) in zip(axes, histories.items(), strict=True):
        for variant, ratios in history.items():
            axis.plot([50 * BATCH * (number + 1) / 1000 for number in range(len(ratios))], ratios, label=variant, linewidth=0.9)
        axis.set_title(name, fontsize=9)
        axis.set_ylabel("hits", fontsize=8)
    axes[0].legend(fontsize=7)
    axes[-1].set_xlabel("thousands of keys asked for")
    figure.tight_layout()
    figure.savefig(path)
