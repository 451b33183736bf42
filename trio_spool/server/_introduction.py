"""The first line of a service's log: everything that has to be known of it when something else is read there."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

from ..engine import EngineError, find_engine
from .settings import TcpAddress
from .shared import Shared

# Buckets whose items are told apart. Picked, not measured: the line stays readable.
_MAX_BUCKETS = 8


def count_items_in_thread(shared: Shared) -> dict[str, int]:
    """Return the number of items of each bucket, for `introduce`; nothing if that would not be logged."""
    items = {}
    if shared.log.writes("info"):
        for bucket in shared.buckets:
            try:
                items[bucket.name] = bucket.engine.statistics().items
            except EngineError:
                pass  # it says so itself when it is used
    return items


def introduce(shared: Shared, listening: list[str], items: Mapping[str, int]) -> None:
    """Log what is running.

    Args:
        shared: What the service shares. It knows the addresses for clients.
        listening: All addresses, also those for others than clients.
        items: The number of items of each bucket.
    """
    settings = shared.settings
    engine = find_engine(settings.engine)
    told = dict(sorted(items.items())) if len(items) <= _MAX_BUCKETS else sum(items.values())
    advertised = [
        f"{listener.port}:{address.port}"
        for address, listener in zip(shared.listening, shared.listeners, strict=True)
        if listener.mapped and isinstance(address, TcpAddress)
    ]
    shared.log.info(
        "started",
        version=shared.version,
        python=f"{platform.python_version()} {sys.platform}",
        pid=os.getpid(),
        data_dir=None if settings.data_dir is None else str(settings.data_dir.absolute()),
        engine=engine.name,
        fsync=settings.fsync if engine.needs_directory else None,
        buckets=len(shared.buckets),
        items=told,
        listening=listening,
        advertised=advertised,
        users=len(shared.logins) if shared.logins.required else None,
    )
