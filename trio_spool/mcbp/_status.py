"""The statuses of responses, and their texts."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The status of a response, which tells how its request ended."""

    OK = 0x00
    NOT_FOUND = 0x01
    EXISTS = 0x02
    TOO_BIG = 0x03
    INVALID = 0x04
    NOT_STORED = 0x05
    NOT_A_NUMBER = 0x06
    NOT_MY_VBUCKET = 0x07
    NO_BUCKET = 0x08
    LOCKED = 0x09
    NOT_LOCKED = 0x0E
    AUTH_STALE = 0x1F
    AUTH_ERROR = 0x20
    AUTH_CONTINUE = 0x21
    RANGE_ERROR = 0x22
    NO_ACCESS = 0x24
    UNKNOWN_FRAME_INFO = 0x80
    UNKNOWN_COMMAND = 0x81
    NO_MEMORY = 0x82
    NOT_SUPPORTED = 0x83
    INTERNAL = 0x84
    BUSY = 0x85
    TEMPORARY_FAILURE = 0x86
    UNKNOWN_COLLECTION = 0x88
    UNKNOWN_SCOPE = 0x8C
    DURABILITY_INVALID_LEVEL = 0xA0
    DURABILITY_IMPOSSIBLE = 0xA1
    SCAN_CANCELLED = 0xA5
    SCAN_MORE = 0xA6
    SCAN_COMPLETE = 0xA7
    VBUCKET_UUID_DIFFERS = 0xA8
    SUBDOC_PATH_NOT_FOUND = 0xC0
    SUBDOC_PATH_MISMATCH = 0xC1
    SUBDOC_PATH_INVALID = 0xC2
    SUBDOC_PATH_TOO_BIG = 0xC3
    SUBDOC_DOC_TOO_DEEP = 0xC4
    SUBDOC_VALUE_CANT_INSERT = 0xC5
    SUBDOC_DOC_NOT_JSON = 0xC6
    SUBDOC_NUM_RANGE = 0xC7
    SUBDOC_DELTA_INVALID = 0xC8
    SUBDOC_PATH_EXISTS = 0xC9
    SUBDOC_VALUE_TOO_DEEP = 0xCA
    SUBDOC_INVALID_COMBO = 0xCB
    SUBDOC_MULTI_PATH_FAILURE = 0xCC
    SUBDOC_SUCCESS_DELETED = 0xCD
    SUBDOC_XATTR_INVALID_FLAGS = 0xCE
    SUBDOC_XATTR_INVALID_KEYS = 0xCF
    SUBDOC_XATTR_UNKNOWN_MACRO = 0xD0
    SUBDOC_XATTR_UNKNOWN_VATTR = 0xD1
    SUBDOC_XATTR_CANT_MODIFY_VATTR = 0xD2
    SUBDOC_MULTI_PATH_FAILURE_DELETED = 0xD3
    SUBDOC_CAN_ONLY_REVIVE_DELETED = 0xD6
    SUBDOC_DELETED_CANT_HAVE_VALUE = 0xD7


_NAMES = {int(status): status.name.lower() for status in Status}


def status_name(status: int) -> str:
    """Return the name of a status in lower case; ``unknown`` if it has none."""
    return _NAMES.get(status, "unknown")


# The body of an error response, which classic clients show: short, and never empty.
STATUS_TEXT: dict[int, bytes] = {
    Status.NOT_FOUND: b"Not found",
    Status.EXISTS: b"Data exists for key",
    Status.TOO_BIG: b"Too large",
    Status.INVALID: b"Invalid arguments",
    Status.NOT_STORED: b"Not stored",
    Status.NOT_A_NUMBER: b"Non-numeric value",
    Status.AUTH_ERROR: b"Auth failure",
    Status.UNKNOWN_FRAME_INFO: b"Unknown frame info",
    Status.UNKNOWN_COMMAND: b"Unknown command",
    Status.NO_MEMORY: b"Out of memory",
    Status.NOT_SUPPORTED: b"Not supported",
    Status.INTERNAL: b"Internal error",
    Status.BUSY: b"Busy",
    Status.TEMPORARY_FAILURE: b"Temporary failure",
}


def status_text(status: int) -> bytes:
    """Return a short text for the status of an error. It is never empty."""
    try:
        return STATUS_TEXT.get(status) or Status(status).name.replace("_", " ").capitalize().encode()
    except ValueError:
        return b"Status 0x%02x" % status
