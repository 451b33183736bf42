"""Why connections end."""

from __future__ import annotations

from enum import Enum


class Cause(Enum):
    """Why a connection has ended. The values stand in the log and in statistics, and stay as they are.

    A connection has one cause, the first: what follows from it (a reset that the service itself caused, for example) is not one.
    """

    CLIENT_CLOSED = "client-closed"  # the client closed it between two requests, or while it waited for replies
    CLIENT_CLOSED_EARLY = "client-closed-mid-request"  # a part of a request had arrived
    RESET = "reset"  # by the client, or by its system: also one that writes to what nobody reads any more
    NETWORK = "network"  # the client's system does not answer
    QUIT = "quit"  # the client said so
    UNKNOWN_PROTOCOL = "unknown-protocol"  # the first byte begins no protocol
    BAD_BYTES = "bad-bytes"  # what came can't be a request, or the next one can't be found
    BAD_REQUEST = "bad-request"  # a request that closes a classic connection
    LOGIN_MISSING = "login-missing"  # a request before the login
    LOGIN_TIMEOUT = "login-timeout"
    FRAME_TIMEOUT = "frame-timeout"
    IDLE_TIMEOUT = "idle-timeout"
    SEND_TIMEOUT = "send-timeout"
    MIN_READ_RATE = "min-read-rate"
    MAX_BUFFERED = "max-buffered"
    BUCKET_DELETED = "bucket-deleted"
    TLS = "tls"  # the handshake failed, or what came was not from the other end of it
    REPLY_INCOMPLETE = "reply-incomplete"  # a reply failed half-way, and the client must not take the rest for it
    ENGINE_FAILED = "engine-failed"  # nobody knows whether a mutation took place
    DRAIN = "drain"  # the service stops, and the client waited for nothing
    DRAIN_TIMEOUT = "drain-timeout"  # the service stops, and the client waited for something
    ERROR = "error"  # a bug: see the line "connection failed"
