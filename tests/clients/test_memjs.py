"""memjs, of Node, against a server in a process of its own; node/memjs.js has the checks."""

from __future__ import annotations

from typing import Any


def test_every_operation(node: Any, server: Any) -> None:
    done = node("memjs.js", server.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok flush" in done.stdout.splitlines()


def test_with_a_login(node: Any, protected: Any, login: tuple[str, str]) -> None:
    done = node("memjs.js", protected.address, *login)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ok flush", "ok a wrong password", "ok no password"} <= set(done.stdout.splitlines())
