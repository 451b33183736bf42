"""The durability that a client may require of a mutation. One node is a majority, and a reply means that it is committed."""

from __future__ import annotations

from enum import IntEnum

from ..data import Bucket


class Durability(IntEnum):
    """Where a mutation must be before it is answered."""

    MAJORITY = 1
    MAJORITY_AND_PERSIST_TO_ACTIVE = 2
    PERSIST_TO_MAJORITY = 3


def is_met(bucket: Bucket, durability: Durability) -> bool:
    """Whether the mutations that a bucket acknowledges are as durable as required."""
    return durability is Durability.MAJORITY or bucket.durable
