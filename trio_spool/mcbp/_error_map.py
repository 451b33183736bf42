"""The error map: what each status means, as JSON for clients that ask. It lists every status that is ever sent."""

from __future__ import annotations

import json
from typing import Final

from ._status import Status

# The newest version of the format; clients that ask for an older one get that.
VERSION: Final = 2
_REVISION: Final = 1

_ITEM: Final = ("item-only",)
_RETRY: Final = ("temp", "retry-now")
_LATER: Final = ("temp", "retry-later")
_ERRORS: Final[dict[Status, tuple[str, str, tuple[str, ...]]]] = {
    Status.NOT_FOUND: ("KEY_ENOENT", "There is no such key", _ITEM),
    Status.EXISTS: ("KEY_EEXISTS", "The key exists, or its CAS is another one", _ITEM),
    Status.TOO_BIG: ("E2BIG", "The value is over the limit", ("item-only", "invalid-input")),
    Status.INVALID: ("EINVAL", "The request breaks a rule of the protocol", ("internal", "invalid-input")),
    Status.NOT_STORED: ("NOT_STORED", "A condition for storing was not met", _ITEM),
    Status.NOT_A_NUMBER: ("DELTA_BADVAL", "The value is not a number", ("item-only", "invalid-input")),
    Status.NOT_MY_VBUCKET: ("NOT_MY_VBUCKET", "There is no such vbucket here", ("fetch-config", "invalid-input")),
    Status.NO_BUCKET: ("NO_BUCKET", "No bucket is selected", ("conn-state-invalidated",)),
    Status.LOCKED: ("LOCKED", "The item is locked", ("item-only", "item-locked", "retry-now")),
    Status.NOT_LOCKED: ("NOT_LOCKED", "The item is not locked", _ITEM),
    Status.AUTH_STALE: ("AUTH_STALE", "The login is no longer valid", ("conn-state-invalidated", "auth")),
    Status.AUTH_ERROR: ("AUTH_ERROR", "The login was refused, or there has been none", ("conn-state-invalidated", "auth")),
    Status.AUTH_CONTINUE: ("AUTH_CONTINUE", "The login goes on", ("special-handling",)),
    Status.RANGE_ERROR: ("ERANGE", "A number is outside of its range", ("internal", "invalid-input")),
    Status.NO_ACCESS: ("EACCESS", "The user may not do this", ("support", "auth")),
    Status.UNKNOWN_FRAME_INFO: ("UNKNOWN_FRAME_INFO", "The request has a frame info that is not known", ("support",)),
    Status.UNKNOWN_COMMAND: ("UNKNOWN_COMMAND", "There is no such command", ("support",)),
    Status.NO_MEMORY: ("ENOMEM", "The server is out of memory", _LATER),
    Status.NOT_SUPPORTED: ("NOT_SUPPORTED", "The command is not available here", ("support",)),
    Status.INTERNAL: ("EINTERNAL", "The server failed; its log says more", ("internal", "conn-state-invalidated")),
    Status.BUSY: ("EBUSY", "Another request does the same at this moment", _RETRY),
    Status.TEMPORARY_FAILURE: ("ETMPFAIL", "The server can't do it now", _LATER),
    Status.UNKNOWN_COLLECTION: ("UNKNOWN_COLLECTION", "There is no such collection", ("fetch-config", "invalid-input")),
    Status.UNKNOWN_SCOPE: ("UNKNOWN_SCOPE", "There is no such scope", ("fetch-config", "invalid-input")),
    Status.DURABILITY_INVALID_LEVEL: ("DURABILITY_INVALID_LEVEL", "There is no such durability level", ("invalid-input",)),
    Status.DURABILITY_IMPOSSIBLE: ("DURABILITY_IMPOSSIBLE", "The server is not set up for this durability", _ITEM),
    Status.SCAN_CANCELLED: ("RANGE_SCAN_CANCELLED", "The scan was cancelled", ("special-handling",)),
    Status.SCAN_MORE: ("RANGE_SCAN_MORE", "The scan has more", ("special-handling",)),
    Status.SCAN_COMPLETE: ("RANGE_SCAN_COMPLETE", "The scan is complete", ("special-handling",)),
    Status.VBUCKET_UUID_DIFFERS: ("VBUUID_NOT_EQUAL", "The vbucket has another uuid", ("item-only",)),
    Status.SUBDOC_PATH_NOT_FOUND: ("SUBDOC_PATH_ENOENT", "There is nothing at the path", ("subdoc", "item-only")),
    Status.SUBDOC_PATH_MISMATCH: ("SUBDOC_PATH_MISMATCH", "The path does not fit the document", ("subdoc", "item-only")),
    Status.SUBDOC_PATH_INVALID: ("SUBDOC_PATH_EINVAL", "This is not a path", ("subdoc", "invalid-input")),
    Status.SUBDOC_PATH_TOO_BIG: ("SUBDOC_PATH_E2BIG", "The path is too long", ("subdoc", "invalid-input")),
    Status.SUBDOC_DOC_TOO_DEEP: ("SUBDOC_DOC_E2DEEP", "The document is nested too deeply", ("subdoc", "item-only")),
    Status.SUBDOC_VALUE_CANT_INSERT: ("SUBDOC_VALUE_CANTINSERT", "The value does not fit there", ("subdoc", "invalid-input")),
    Status.SUBDOC_DOC_NOT_JSON: ("SUBDOC_DOC_NOTJSON", "The document is not JSON", ("subdoc", "item-only")),
    Status.SUBDOC_NUM_RANGE: ("SUBDOC_NUM_ERANGE", "The number is outside of its range", ("subdoc", "item-only")),
    Status.SUBDOC_DELTA_INVALID: ("SUBDOC_DELTA_EINVAL", "The delta is not a number, or 0", ("subdoc", "invalid-input")),
    Status.SUBDOC_PATH_EXISTS: ("SUBDOC_PATH_EEXISTS", "There is something at the path", ("subdoc", "item-only")),
    Status.SUBDOC_VALUE_TOO_DEEP: ("SUBDOC_VALUE_ETOODEEP", "The value is nested too deeply", ("subdoc", "item-only")),
    Status.SUBDOC_INVALID_COMBO: ("SUBDOC_INVALID_COMBO", "These can't be combined", ("subdoc", "invalid-input")),
    Status.SUBDOC_MULTI_PATH_FAILURE: ("SUBDOC_MULTI_PATH_FAILURE", "Not every path worked", ("subdoc", "special-handling")),
    Status.SUBDOC_XATTR_INVALID_FLAGS: (
        "SUBDOC_XATTR_INVALID_FLAG_COMBO", "These flags can't be combined", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_INVALID_KEYS: (
        "SUBDOC_XATTR_INVALID_KEY_COMBO", "These attributes can't be combined", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_UNKNOWN_MACRO: ("SUBDOC_XATTR_UNKNOWN_MACRO", "There is no such macro", ("subdoc", "invalid-input")),
    Status.SUBDOC_XATTR_UNKNOWN_VATTR: (
        "SUBDOC_XATTR_UNKNOWN_VATTR", "There is no such virtual attribute", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_CANT_MODIFY_VATTR: (
        "SUBDOC_XATTR_CANT_MODIFY_VATTR", "A virtual attribute can't be changed", ("subdoc", "invalid-input")
    ),
}  # fmt: skip


def error_map(version: int) -> bytes:
    """Return the map as JSON, in the newest version of its format that is not above the one that is asked for."""
    errors = {
        f"{status:x}": {"name": name, "desc": description, "attrs": list(attributes)}
        for status, (name, description, attributes) in _ERRORS.items()
    }
    return json.dumps({"version": min(version, VERSION), "revision": _REVISION, "errors": errors}).encode()
