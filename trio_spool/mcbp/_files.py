"""Snapshots of files: what a client asks for, and fragments with interleaved checksums.

PREPARE_SNAPSHOT replies with a manifest, JSON::

    {"uuid": text, "files": [{"id": n, "path": text, "size": decimal text, "sha512": hexadecimal}]}

GET_FILE_FRAGMENT has the uuid as its key, and a JSON object as its value::

    {"id": n, "offset": decimal text, "length": decimal text, "checksum_length": decimal text}

The last is optional: the body is then repeated {so many bytes of the file, u32 CRC32-C of them}, the last piece shorter.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from ._errors import RemoteProtocolError
from ._frames import HEADER
from ._opcodes import Magic, Opcode
from ._status import Status

# A response's length has 32 bits.
MAX_FRAGMENT = 0xFFFFFFFF
MAX_ASKED = 4096
CHECKSUM_SIZE = 4


@attrs.frozen(kw_only=True)
class FragmentRequest:
    """What GET_FILE_FRAGMENT asks for.

    Attributes:
        id: Which file.
        offset: From which byte of it.
        length: How many bytes of it.
        checksum_length: How many bytes each checksum is of; 0 for none.
    """

    id: int
    offset: int
    length: int
    checksum_length: int = 0

    @property
    def body_length(self) -> int:
        """The length of the reply's body, with checksums."""
        if not self.checksum_length:
            return self.length
        return self.length + CHECKSUM_SIZE * -(-self.length // self.checksum_length)


def _invalid(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(reason, status_hint=Status.INVALID)


def _number(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    raise _invalid(f"{name!r} must be a number as text, not {value!r:.40}")


def parse_fragment_request(value: bytes) -> FragmentRequest:
    """Parse the value of GET_FILE_FRAGMENT.

    Raises:
        RemoteProtocolError: It is not valid; `status_hint` is the status to reply.
    """
    try:
        asked = json.loads(value) if len(value) <= MAX_ASKED else None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise _invalid("a fragment is asked for with a small JSON object")
    identity = asked.get("id")
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise _invalid(f"'id' must be the number of a file, not {identity!r:.40}")
    request = FragmentRequest(
        id=identity,
        offset=_number(asked, "offset"),
        length=_number(asked, "length"),
        checksum_length=_number(asked, "checksum_length") if "checksum_length" in asked else 0,
    )
    if "checksum_length" in asked and not request.checksum_length:
        raise _invalid("'checksum_length' must be at least 1")
    if request.body_length > MAX_FRAGMENT:
        raise _invalid(f"a fragment of {request.body_length} bytes; a response has at most {MAX_FRAGMENT}")
    return request


def encode_fragment_request(request: FragmentRequest) -> bytes:
    """Encode what `parse_fragment_request` parses."""
    asked: dict[str, Any] = {"id": request.id, "offset": str(request.offset), "length": str(request.length)}
    if request.checksum_length:
        asked["checksum_length"] = str(request.checksum_length)
    return json.dumps(asked, separators=(",", ":")).encode()


def encode_fragment_header(opaque: int, body_length: int) -> bytes:
    """Encode the header of a response to GET_FILE_FRAGMENT; the body follows."""
    return HEADER.pack(Magic.RESPONSE, Opcode.GET_FILE_FRAGMENT, 0, 0, 0, Status.OK, body_length, opaque, 0)
