"""What a producer sees when its reader is gone."""

from __future__ import annotations

import trio


class SpoolBrokenError(trio.BrokenResourceError, BrokenPipeError):
    """Raised by `SpoolWriter.write` when nobody will read what is written.

    The receiver left the block, its connection ended, or it was cancelled. It is a `BrokenPipeError` for the
    code that writes to files and a `trio.BrokenResourceError` for the code around it. Let it propagate: the
    spool that stopped the producer expects it.
    """
