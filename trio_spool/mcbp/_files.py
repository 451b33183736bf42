"""Snapshots of files: requests for fragments, and fragments with interleaved checksums.

PREPARE_SNAPSHOT replies with a manifest, JSON::

    {"uuid": text, "files": [{"id": n, "path": text, "size": decimal text, "sha512": hexadecimal}]}

GET_FILE_FRAGMENT has the uuid as its key, and a JSON object as its value::

    {"id": n, "offset": decimal text, "length": decimal text, "checksum_length": decimal text}

The last member is optional. With it, the body is repeated {that many bytes of the file, u32 CRC32-C of them}; the last piece may be
shorter.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from ._errors import RemoteProtocolError
from ._frames import HEADER
from ._opcodes import Magic, Opcode
from ._status import Status

# The maximum length of a response's body, in bytes: its field has 32 bits.
MAX_FRAGMENT = 0xFFFFFFFF
# The maximum length of the JSON, in bytes. It holds four numbers, which take some 150: picked, not measured.
MAX_ASKED = 4096
# The length of a CRC32-C, in bytes.
CHECKSUM_SIZE = 4
# The number of decimal digits of the largest number with 64 bits.
_MAX_DIGITS = 20


@attrs.frozen(kw_only=True)
class FragmentRequest:
    """A request for a fragment of a file, as GET_FILE_FRAGMENT carries it.

    Attributes:
        id: The id of the file in the manifest.
        offset: Where the fragment begins, in bytes.
        length: The length of the fragment, in bytes.
        checksum_length: The number of bytes that each checksum is for, or 0 for no checksums.
    """

    id: int
    offset: int
    length: int
    checksum_length: int = 0

    @property
    def body_length(self) -> int:
        """The length of the response's body with its checksums, in bytes."""
        if not self.checksum_length:
            return self.length
        return self.length + CHECKSUM_SIZE * -(-self.length // self.checksum_length)


def _invalid(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(reason, status_hint=Status.INVALID)


def _number(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    raise _invalid(f"{name!r} must be a decimal number in a string, not {value!r:.40}")


def parse_fragment_request(value: bytes) -> FragmentRequest:
    """Parse the value of GET_FILE_FRAGMENT.

    Raises:
        RemoteProtocolError: The value is not valid. `status_hint` is the status to reply with.
    """
    try:
        asked = json.loads(value) if len(value) <= MAX_ASKED else None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise _invalid(f"the value of a request for a fragment must be a JSON object of at most {MAX_ASKED} bytes")
    identity = asked.get("id")
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise _invalid(f"'id' must be the id of a file, a number, not {identity!r:.40}")
    request = FragmentRequest(
        id=identity,
        offset=_number(asked, "offset"),
        length=_number(asked, "length"),
        checksum_length=_number(asked, "checksum_length") if "checksum_length" in asked else 0,
    )
    if "checksum_length" in asked and not request.checksum_length:
        raise _invalid("'checksum_length' must be at least 1")
    if request.body_length > MAX_FRAGMENT:
        raise _invalid(f"the response would have {request.body_length} bytes; the maximum is {MAX_FRAGMENT}")
    return request


def encode_fragment_request(request: FragmentRequest) -> bytes:
    """Encode the value of GET_FILE_FRAGMENT."""
    asked: dict[str, Any] = {"id": request.id, "offset": str(request.offset), "length": str(request.length)}
    if request.checksum_length:
        asked["checksum_length"] = str(request.checksum_length)
    return json.dumps(asked, separators=(",", ":")).encode()


def encode_fragment_header(opaque: int, body_length: int) -> bytes:
    """Encode the header of a response to GET_FILE_FRAGMENT. The body must follow it.

    Args:
        opaque: The opaque of the request.
        body_length: The length of the body, in bytes.
    """
    return HEADER.pack(Magic.RESPONSE, Opcode.GET_FILE_FRAGMENT, 0, 0, 0, Status.OK, body_length, opaque, 0)
