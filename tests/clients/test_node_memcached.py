"""memcached, of Node, in the text protocol; node/memcached.js has the checks."""

from __future__ import annotations

from typing import Any


def test_every_operation(node: Any, text_port: int) -> None:
    done = node("memcached.js", f"127.0.0.1:{text_port}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok flush" in done.stdout.splitlines()
