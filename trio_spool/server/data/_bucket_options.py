"""What administrators set of a bucket, when they make it, or through the management port. Stored with the bucket, as JSON."""

from __future__ import annotations

import json
from typing import Final

import attrs


@attrs.frozen
class BucketOptions:
    """The options of a bucket.

    Attributes:
        flush: Whether a request of management may empty the bucket.
        ephemeral: Whether it was made as a bucket that keeps nothing on disk.
        max_size: Bytes that its items may take, 0 for no bound; None for what the settings of the server say.
        evict: What happens when they would take more; None likewise.
        ram_quota: The memory in MiB that an administrator has assigned to it. It is kept for those who ask; nothing depends on it.
    """

    flush: bool = True
    ephemeral: bool = False
    ram_quota: int = 0
    max_size: int | None = None
    evict: str | None = None

    def to_json(self) -> bytes:
        """Return them as JSON."""
        return json.dumps(attrs.asdict(self)).encode()


DEFAULT_OPTIONS: Final = BucketOptions()


def parse_options(text: bytes | None) -> BucketOptions:
    """Parse what `to_json` returned; the defaults if there is nothing. What a later version has added is left out.

    Raises:
        ValueError: The text is something else.
    """
    if text is None:
        return BucketOptions()
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    known = attrs.fields_dict(BucketOptions)
    return BucketOptions(**{name: value for name, value in content.items() if name in known})
