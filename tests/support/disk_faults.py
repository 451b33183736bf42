"""A disk that fails when a test says so: a library that is preloaded into another process, and what it is told."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_suffix(".c")
SCRIPT = Path(__file__).with_name("failing_engine.py")
CALLS = 256
_KINDS = struct.calcsize("=l")
_TABLE = _KINDS + CALLS
_ENTRY = struct.Struct("=ll")
_SIZE = _TABLE + (CALLS + 1) * _ENTRY.size


class How(IntEnum):
    """How a call fails: it is not made, or made before it fails, or only half of it is written, without an error, or it hangs."""

    BEFORE = 1
    AFTER = 2
    SHORT = 3
    HANG = 4


class DiskFaults:
    """What is to happen to the writes and syncs of databases, in all processes that have the library.

    Args:
        path: The file that these processes map.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def clear(self) -> None:
        """Let everything succeed, and begin to count anew."""
        self._map[:] = bytes(_SIZE)

    def fail(self, call: int, how: How, error: int) -> None:
        """Let the call of a number fail, counted from 0."""
        _ENTRY.pack_into(self._map, _TABLE + call * _ENTRY.size, how, error)

    def fail_from(self, call: int, how: How, error: int) -> None:
        """Let all calls fail from a number on."""
        for each in range(call, CALLS + 1):
            self.fail(each, how, error)

    @property
    def calls(self) -> str:
        """The calls that were made: p, w and v for the writes `pwrite`, `write` and `writev`, and s for a sync."""
        (count,) = struct.unpack_from("=l", self._map)
        return self._map[_KINDS : _KINDS + min(count, CALLS)].decode()


def build(directory: Path) -> Path:
    """Compile the library, or skip the test if there is no compiler."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = directory / "disk_faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def environment(library: Path, faults: DiskFaults) -> dict[str, str]:
    """Return the environment of a process that has the library."""
    return {**os.environ, "LD_PRELOAD": str(library), "DISK_FAULTS": str(faults.path)}


def run_failing_engine(library: Path, directory: Path, scenario: str, *arguments: str, timeout: float = 100) -> dict[str, Any]:
    """Run a scenario of failing_engine.py with the library, in a directory for its files, and return what it says."""
    faults = DiskFaults(directory / "faults")
    command = [sys.executable, SCRIPT, scenario, directory / "data", faults.path, *arguments]
    process = subprocess.run(command, env=environment(library, faults), stdout=subprocess.PIPE, check=True, timeout=timeout)
    said: dict[str, Any] = json.loads(process.stdout)
    return said
