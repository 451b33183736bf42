"""An engine over a disk that fails: run by tests/engine/test_disk_faults.py, in a process of its own, with the library preloaded."""

from __future__ import annotations

import errno
import json
import random
import shutil
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.disk_faults import DiskFaults, How
from trio_spool.engine import Delete, EngineFailedError, EngineOptions, Get, Outcome, Problem, Store
from trio_spool.engine.lmdb._engine import LmdbEngine

Contents = dict[bytes, bytes]
FAILING = (How.BEFORE, How.AFTER, How.SHORT)


def open_one(path: Path, fsync: str) -> LmdbEngine:
    """Open an engine that syncs whenever it may, and does nothing by itself."""
    return LmdbEngine(EngineOptions(directory=path, fsync=fsync, expiry_interval=3600.0), sync_interval=0.0)


def contents(engine: LmdbEngine) -> Contents:
    with engine.snapshot() as snapshot:
        return {record[0]: record[1] for record in snapshot.records()}


class Mutations:
    """Groups of mutations that write single pages, runs of pages, and large values; each changes what the one before left."""

    def __init__(self) -> None:
        self._number = 0

    def next(self, model: Contents) -> tuple[list[Store | Delete], Contents]:
        """Return a group, and what a store has after it."""
        self._number += 1
        values = {b"small%d" % (self._number % 3): b"%d" % self._number}
        values |= {b"k%03d" % each: b"%d " % self._number * 40 for each in range(self._number % 5, 200, 5)}
        values[b"large"] = bytes([self._number % 256]) * 30_000
        gone = b"k%03d" % (self._number % 5)
        values.pop(gone)
        after = {**model, **values}
        operations: list[Store | Delete] = [Store(key, value) for key, value in values.items()]
        if after.pop(gone, None) is not None:
            operations.append(Delete(gone))
        return operations, after


def each(path: Path, faults: DiskFaults, fsync: str) -> dict[str, object]:
    """Let each call of a commit fail in turn, in each way."""
    said = {"calls": "", "faults": 0, "refused": 0, "failed": 0, "unnoticed": 0}
    mutations, model = Mutations(), dict[bytes, bytes]()
    engine = open_one(path, fsync)
    for error in (errno.ENOSPC, errno.EIO):
        for how in FAILING:
            call = 0
            while True:
                operations, after = mutations.next(model)
                faults.clear()
                faults.fail(call, how, error)
                refused = engine.execute(operations)[0].problem is not None
                try:
                    engine.execute([Get(b"k")])  # behind what the engine does after a group
                    failed = False
                except EngineFailedError:
                    failed = True
                calls = faults.calls
                faults.clear()
                if len(calls) <= call:
                    assert not refused and not failed
                    model = after
                    break
                said["calls"] += calls
                said["faults"] += 1
                said["refused"] += refused
                said["failed"] += failed
                said["unnoticed"] += not refused and not failed  # half of a sync
                assert not (refused and failed)
                if failed:  # what could not be synced is not there, though the system may still have it
                    engine.close()
                    engine = open_one(path, fsync)
                elif not refused:
                    model = after
                assert contents(engine) == model, (error, how, call)
                operations, model = mutations.next(model)
                assert all(outcome.problem is None for outcome in engine.execute(operations)), (error, how, call)
                assert contents(engine) == model
                call += 1
    engine.close()
    with open_one(path, fsync) as engine:
        assert contents(engine) == model
    return said


def for_ever(path: Path, faults: DiskFaults, fsync: str, error: str, how: str) -> dict[str, object]:
    """Let every call fail, then none any more."""
    mutations = Mutations()
    engine = open_one(path, fsync)
    operations, model = mutations.next({})
    engine.execute(operations)
    engine.execute([Get(b"k")])  # behind its sync
    faults.clear()
    faults.fail_from(0, How[how], getattr(errno, error))
    problems = []
    while len(problems) < 10 and engine.failure is None:
        problems.append(attempt(engine, mutations.next(model)[0]))
    faults.clear()
    operations, after_all = mutations.next(model)
    after = attempt(engine, operations)
    engine.close()
    with open_one(path, fsync) as engine:
        read = contents(engine) == (model if after else after_all)
    return {"problems": problems, "after": after, "read": read}


def attempt(engine: LmdbEngine, operations: list[Store | Delete]) -> str | None:
    try:
        problem = engine.execute(operations)[0].problem
    except EngineFailedError as exc:
        return type(exc).__name__
    return None if problem is None else problem.value


def unknown(path: Path, faults: DiskFaults) -> dict[str, object]:
    """Let the meta page be written, though that fails, and let it not be put back."""
    mutations = Mutations()
    operations, model = mutations.next({})
    with open_one(path, "always") as engine:
        engine.execute(operations)
    operations, after = mutations.next(model)
    # LMDB does the same to the same file, so a copy of it tells which call writes the meta page.
    rehearsal = path.with_name("rehearsal")
    shutil.copytree(path, rehearsal)
    with open_one(rehearsal, "always") as engine:
        faults.clear()
        engine.execute(operations)
        meta = len(faults.calls) - 1
    engine = open_one(path, "always")
    faults.clear()
    faults.fail(meta, How.AFTER, errno.EIO)
    faults.fail(meta + 1, How.BEFORE, errno.EIO)
    error = attempt(engine, operations)
    faults.clear()
    engine.close()
    with open_one(path, "always") as engine:
        return {"error": error, "found": contents(engine) == after}


def at_random(path: Path, faults: DiskFaults, fsync: str, seed: str, rounds: str) -> dict[str, int]:
    """Let several calls of each commit fail, chosen at random, and open the engine again when it has failed."""
    chance = random.Random(int(seed))
    said = {"acknowledged": 0, "refused": 0, "unknown": 0, "failed": 0}
    mutations, model = Mutations(), dict[bytes, bytes]()
    faults.clear()
    engine = open_one(path, fsync)
    for round_ in range(int(rounds)):
        operations, after = mutations.next(model)
        faults.clear()
        for call in range(10):
            if chance.random() < 0.2:
                faults.fail(call, chance.choice(FAILING), chance.choice([errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]))
        problem = submit(engine, operations)
        try:
            engine.execute([Get(b"k")])  # behind what the engine does after a group
        except EngineFailedError:
            pass
        faults.clear()
        possible = [after] if problem is None else [model, after] if problem is Problem.UNKNOWN else [model]
        if engine.failure is not None:
            said["failed"] += 1
            engine.close()
            engine = open_one(path, fsync)
            if fsync == "everysec":
                possible = [model, *possible]  # what was before the sync that failed
        found = contents(engine)
        assert found in possible, (seed, round_, problem)
        model = found
        said["acknowledged" if problem is None else "unknown" if problem is Problem.UNKNOWN else "refused"] += 1
    engine.close()
    with open_one(path, fsync) as engine:
        assert contents(engine) == model
    return said


def submit(engine: LmdbEngine, operations: list[Store | Delete]) -> Problem | None:
    """Submit operations, and return why they were refused."""
    outcomes = list[Outcome]()
    answered = threading.Event()
    engine.submit(operations, lambda answer: (outcomes.extend(answer), answered.set()))
    assert answered.wait(60), "nobody answered"
    return outcomes[0].problem


def readers(path: Path, faults: DiskFaults) -> dict[str, object]:
    """Read from other threads while meta pages can't be written, so that the environment panics again and again."""
    engine = open_one(path, "always")
    engine.execute([Store(b"k", b"v")])
    stop = threading.Event()
    reads, failures = [0, 0], list[str]()

    def read(number: int) -> None:
        reader = engine.open_reader()
        try:
            while not stop.is_set():
                item = reader.get(b"k") if number else reader.get_many([b"k"], 100)[0]
                reader.release()
                assert item is not None and item[0] == b"v"
                reads[number] += 1
        except Exception as exc:
            failures.append(repr(exc))

    threads = [threading.Thread(target=read, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):  # until each commit writes as often as the one before
        faults.clear()
        engine.execute([Store(b"other", b"v")])
    meta = len(faults.calls) - 1
    panics = 0
    for _ in range(40):
        faults.clear()
        faults.fail(meta, How.BEFORE, errno.ENOSPC)
        engine.execute([Store(b"other", b"w")])
        panics += faults.calls.endswith("spp")  # a sync, the meta page, and the old one
        # Of the next commit, perhaps: not all write the same number of pages.
        meta = faults.calls.index("s") + 1 if "s" in faults.calls else meta + 1
    stop.set()
    for thread in threads:
        thread.join()
    engine.close()
    return {"panics": panics >= 10, "failures": failures, "read": min(reads) > 0}


if __name__ == "__main__":
    scenario, path, control, *arguments = sys.argv[1:]
    function = {"each": each, "for ever": for_ever, "unknown": unknown, "readers": readers, "at random": at_random}[scenario]
    print(json.dumps(function(Path(path), DiskFaults(Path(control)), *arguments)))  # type: ignore[operator]
