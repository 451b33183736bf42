"""What a client may ask of a mutation's durability. One node is a majority, and a reply means that it is committed."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._buckets import Bucket


class Durability(IntEnum):
    """Where a mutation is to be before it is answered."""

    MAJORITY = 1
    MAJORITY_AND_PERSIST_TO_ACTIVE = 2
    PERSIST_TO_MAJORITY = 3


def is_met(bucket: Bucket, durability: Durability) -> bool:
    """Whether what a bucket acknowledges is as durable as that."""
    return durability is Durability.MAJORITY or bucket.durable
