"""The environ of a request: what PEP 3333 calls it, made of ASGI's scope."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from ._files import FileWrapper

Environ = dict[str, Any]

# Headers that an environ must not have. "Proxy" would become HTTP_PROXY, which HTTP clients take for the proxy to use
# (CVE-2016-5385). The server has decoded the transfer already; where it sees a transfer encoding, a framework may read no body.
_DROPPED = frozenset({b"proxy", b"transfer-encoding"})
_PORTS = {"http": 80, "https": 443}


def build_environ(scope: Mapping[str, Any], body: IO[bytes], errors: Any = None) -> Environ:
    """Return the environ of one request.

    Args:
        scope: ASGI's description of the request.
        body: A blocking file with the request's body, which ends where the body ends.
        errors: A text file for what the application writes to ``wsgi.errors``; `sys.stderr` by default.
    """
    scheme = scope.get("scheme") or "http"
    script_name, path_info = _split_path(scope)
    server = scope.get("server") or ("localhost", _PORTS.get(scheme, 80))
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),  # a Unix socket has no port
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": body,
        # Also without a CONTENT_LENGTH, the application may read to the end. Werkzeug asks this before it reads a chunked upload.
        "wsgi.input_terminated": True,
        "wsgi.errors": errors if errors is not None else sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,  # not known here: servers can have several workers
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "asgi.scope": scope,
    }
    client = scope.get("client")
    if client:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    if scheme == "https":
        environ["HTTPS"] = "on"
    _add_headers(environ, scope.get("headers", ()))
    return environ


def _split_path(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO. Servers and mounts differ in whether ASGI's path contains the root path: it should."""
    root = _tunnel(scope.get("root_path") or "").rstrip("/")
    path = _tunnel(scope["path"])
    raw = scope.get("raw_path")
    if raw and "\ufffd" in scope["path"]:
        # The server could not decode this path as UTF-8. The application gets the client's bytes.
        path = unquote_to_bytes(raw).decode("latin-1")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return root, path if path or root else "/"


def _tunnel(text: str) -> str:
    """Return the UTF-8 bytes of a text as WSGI wants them: each byte as the character of the same number."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _add_headers(environ: Environ, headers: Any) -> None:
    for name, value in headers:
        # "X_User" would become the same HTTP_X_USER as "X-User", which a proxy may be trusted to set.
        if name in _DROPPED or b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in environ:
            # HTTP/2 clients send each cookie in a header of its own.
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
