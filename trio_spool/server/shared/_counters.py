"""What a service counts."""

from __future__ import annotations

import attrs


@attrs.define
class Counters:
    """Counts since the start, or since ``stat reset``. Only the event loop's thread writes them."""

    total_connections: int = 0
    rejected_connections: int = 0
    idle_kicks: int = 0
    login_kicks: int = 0
    frame_kicks: int = 0
    rate_kicks: int = 0
    buffer_kicks: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    cmd_get: int = 0
    get_hits: int = 0
    get_misses: int = 0
    cmd_set: int = 0
    cmd_touch: int = 0
    touch_hits: int = 0
    touch_misses: int = 0
    cmd_flush: int = 0
    delete_hits: int = 0
    delete_misses: int = 0
    incr_hits: int = 0
    incr_misses: int = 0
    decr_hits: int = 0
    decr_misses: int = 0
    cas_hits: int = 0
    cas_misses: int = 0
    cas_badval: int = 0
    auth_cmds: int = 0
    auth_errors: int = 0
    total_items: int = 0
    bad_requests: int = 0
    streams: int = 0
    stream_failures: int = 0
    command_failures: int = 0

    def reset(self) -> None:
        """Set every counter to 0."""
        for field in attrs.fields(Counters):
            setattr(self, field.name, 0)
