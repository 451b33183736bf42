"""Whether a service is healthy, and whether it is ready: for probes, which restart it, or send it nobody."""

from __future__ import annotations

from ..shared import Shared, Stage


def unhealthy(shared: Shared) -> list[str]:
    """Return why the service should be restarted; nothing if it is healthy.

    That the event loop turns is shown by an answer at all. Nothing is written: the group that a writer thread is carrying out tells
    whether the disk answers.
    """
    if (failure := shared.buckets.failure) is not None:
        return [f"the storage has failed: {failure}"]
    most, reasons = shared.tuning.slow_write, []
    for bucket in shared.buckets:
        busy = bucket.engine.busy_seconds
        if busy >= most:
            reasons.append(f"the bucket {bucket.name} has not committed for {busy:.0f} seconds; {most:g} are too many")
    return reasons


def unready(shared: Shared) -> str:
    """Return why no clients should be sent to the service; nothing if it is ready."""
    stage = shared.life.stage
    if stage is Stage.STARTING:
        return "starting: the service does not accept connections yet"
    if stage is Stage.DRAINING:
        return f"draining: the service accepts no further connections, and {len(shared.connections)} are still open"
    return ""
