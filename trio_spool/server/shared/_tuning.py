"""Values that are no settings: nobody but a test, or an embedder who measures, has a reason to change them."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from ..data import SWEEP


@attrs.frozen(kw_only=True)
class Tuning:
    """Durations are in seconds.

    Attributes:
        clock: The monotonic clock by which the service, connections, scans and snapshots age.
        housekeeping: The pause between two searches for what has become too old. A scan may live so much longer than its limit,
            which is far below a percent of the default. Picked, not measured.
        sweep: How many items of a dropped collection one operation removes.
        tls_timeout: How long a client may take for the TLS handshake. Picked, not measured: a
            handshake takes two round trips, which over a satellite are two seconds.
        farewell: How long a client that may not stay is listened to, so that it can be told, and as long again so that it can
            read that. Picked, not measured: some round trips.
        between_scans: For how long a connection whose scan has ended may begin the next one while the service ends. An SDK, which
            scans one vbucket after the other, does so at once; picked, not measured, for clients that are far away.
        last_words: For how long clients whose scans are cut off at the end of the service may ask for more, and hear that.
            Picked, not measured: a round trip on any network.
        slow_write: How long one group of writes may take before the log says that the disk does not answer. Picked, not measured:
            a hundred times as long as the largest group takes where groups were measured.
        first_refusal: By how much the refusal of a connection's first failed login is delayed. The delay doubles with each
            failure: it makes guessing slow, and a mistyped password costs nobody much. Picked, not measured.
        max_refusal: The longest such delay.
    """

    clock: Callable[[], float] = time.monotonic
    housekeeping: float = 0.5
    sweep: int = SWEEP
    tls_timeout: float = 10.0
    slow_write: float = 10.0
    farewell: float = 1.0
    between_scans: float = 1.0
    last_words: float = 0.5
    first_refusal: float = 0.1
    max_refusal: float = 3.0
