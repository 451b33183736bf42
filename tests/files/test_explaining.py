"""An OSError as a part of a sentence."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from trio_spool._files import explain


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EISDIR, errno.ELOOP])
def test_numbers_of_the_system(number: int) -> None:
    assert explain(OSError(number, "other words")) == os.strerror(number).lower()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("all attempts failed"), "all attempts failed"),
        (OSError(None, "without a number"), "without a number"),
    ],
)
def test_other_errors_say_it_themselves(error: OSError, expected: str) -> None:
    assert explain(error) == expected


def test_a_real_one(tmp_path) -> None:
    with pytest.raises(OSError) as caught:
        tmp_path.read_bytes()
    assert explain(caught.value) == "is a directory"
