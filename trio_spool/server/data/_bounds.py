"""How large a bucket may become."""

from __future__ import annotations

from ...engine import SMALLEST_BOUND, Bound, bound_of
from ..settings import Settings
from ._bucket_options import BucketOptions


def bound_for(options: BucketOptions, settings: Settings) -> Bound:
    """Return the bound of a bucket: its own, or that of the settings where it has none."""
    size = settings.max_size if options.max_size is None else options.max_size
    return bound_of(size, options.evict or settings.evict)


def check_bound(size: int | None, policy: str | None) -> None:
    """Make sure that a bucket can have a bound: see `BucketOptions`.

    Raises:
        ValueError: It can't. The message says why.
    """
    bound_of(0 if size is None else size, policy or "none")


def parse_size(text: str) -> int:
    """Parse a number of bytes.

    Raises:
        ValueError: It is none, or too small for a bound.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ValueError(f"a size is a number of bytes, {SMALLEST_BOUND} or more, or 0 for no bound; got {text!r:.40}")
    check_bound(int(text), None)
    return int(text)
