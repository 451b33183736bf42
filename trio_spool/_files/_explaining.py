"""What the operating system says about an error, for the middle of a sentence."""

from __future__ import annotations

import errno
import os


def explain(error: OSError) -> str:
    """Return why a call of the operating system failed, as it stands behind a colon: ``no space left on device``.

    The words are the system's own for the error number. An error without such a number, like one of a host name that was not
    found, says itself why.
    """
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error)
