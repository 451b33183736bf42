"""What a client of an HTTP server may use."""

from __future__ import annotations

from typing import Final

import attrs

from ..._core import SpoolLimits

KIB: Final = 1024
# Bytes that are read at once. The head of a request may be larger than `HttpLimits.max_head` by as much.
READ_SIZE: Final = 8 * KIB
# What a connection queues, and what it writes at once. A streamed answer is produced no faster than the client takes it. Picked,
# not measured: an answer is some kilobytes, at most a few hundred.
SPOOL: Final = SpoolLimits(window=128 * KIB, batch=64 * KIB)


@attrs.frozen(kw_only=True)
class HttpLimits:
    """Sizes are in bytes, times in seconds. All are picked, not measured, but for what stands beside them.

    Attributes:
        max_head: The longest request line with its headers. h11's own default, which is also that of IIS.
        max_body: The largest body of a request. The largest form of Couchbase's managers has some hundred bytes.
        max_connections: The maximum number of connections. For another one, an idle connection is closed; if none is idle, the new
            client gets 503.
        max_connections_per_address: The same for one IPv4 address, or one IPv6 network of 64 bits: half of them, so that one client
            that sends half a request on each of its connections leaves others a place.
        idle_time: How long a connection may be open without a request.
        request_time: How long a request may take to arrive, from its first byte to its last.
        answer_time: How long the handler may take, and as long again the producer of a streamed answer.
        send_timeout: How long a client may take nothing of an answer.
        tls_time: How long the TLS handshake may take.
        farewell: How long a client may take to read the last answer, before the connection is closed.
    """

    max_head: int = 16 * KIB
    max_body: int = 64 * KIB
    max_connections: int = 64
    max_connections_per_address: int = 32
    idle_time: float = 120.0
    request_time: float = 20.0
    answer_time: float = 60.0
    send_timeout: float = 20.0
    tls_time: float = 10.0
    farewell: float = 1.0
