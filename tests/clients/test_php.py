"""PHP's memcached, which is libmemcached, in the text protocol; memcached.php has the checks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def test_every_operation(program: Callable[[str], str], missing: Callable[[str], NoReturn], text_port: int) -> None:
    php = program("php")
    if "memcached" not in subprocess.run([php, "-m"], capture_output=True, text=True, timeout=60).stdout.split():
        missing("this PHP has no memcached")
    command = [php, str(Path(__file__).with_name("memcached.php")), "127.0.0.1", str(text_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
