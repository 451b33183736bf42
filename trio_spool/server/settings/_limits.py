"""Limits that are not settings, because clients or other limits rely on them."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024

# The default of `max_jobs`. Four let an SDK's statistics, scan and fragment overlap; each more costs its part of the window.
# Picked, not measured.
MAX_JOBS: Final = 4
# The largest number of long commands of one connection that a setting may allow. Each has a task and a part of the window.
MAX_MAX_JOBS: Final = 1024
# Seconds. The largest that Linux takes for TCP_KEEPIDLE.
MAX_KEEPALIVE: Final = 32767
# Replies are sent, and operations submitted, once there are so many bytes of them. The batch of the default settings is half of it.
# Picked, not measured; it bounds what one client's pipeline holds, and how long others wait for their turn.
EXCHANGE_SIZE: Final = 256 * KIB
# The most bytes of one transaction: what the writer thread of an engine limits its groups to.
GROUP_BYTES: Final = 32 * 1024 * KIB
# What the program itself takes: 29 MB when it begins, on Linux with Python 3.12; the rest is for histograms, caches, and what the
# allocator can't use.
PROGRAM_BYTES: Final = 64 * 1024 * KIB
# What a connection takes that does nothing. Measured with 2,000 of them: 20 KiB.
IDLE_CONNECTION_BYTES: Final = 32 * KIB
# What the connections of one HTTP server take: 64 of them, each with a request (88 KiB), and an answer that is queued or produced
# (a window of 128 KiB, a batch of 64, and the fragment in hand).
HTTP_SERVER_BYTES: Final = 64 * 384 * KIB
# The largest value, in bytes, unless a setting says otherwise: Couchbase's own limit.
DEFAULT_MAX_ITEM_SIZE: Final = 20 * 1024 * KIB
# The largest value that a setting may allow, in bytes. Couchbase's clients take frames of up to 30 MiB; 1 KiB of it is left for
# the header, the key and the extras.
MAX_ITEM_SIZE: Final = 30 * 1024 * KIB - KIB
# LMDB has a slot for each open scan in a file that it maps; a million slots are 64 MiB.
MAX_SCANS: Final = 1 << 20
# Seconds. A thread that may keep the interpreter for longer than a minute stops the service.
MAX_SWITCH_INTERVAL: Final = 60.0
# Connections that the system may hold until they are accepted. memcached's own number; Linux caps it at net.core.somaxconn.
BACKLOG: Final = 1024
