"""The error map, which tells clients in JSON what each status means. It lists every status that a server here sends."""

from __future__ import annotations

import json
from typing import Final

from ._status import Status

# The newest version of Couchbase's format for error maps. Clients that ask for an older version get that one.
VERSION: Final = 2
# Grows with each change of the map below.
_REVISION: Final = 2

_ITEM: Final = ("item-only",)
_RETRY: Final = ("temp", "retry-now")
_LATER: Final = ("temp", "retry-later")
_ERRORS: Final[dict[Status, tuple[str, str, tuple[str, ...]]]] = {
    Status.NOT_FOUND: ("KEY_ENOENT", "The key does not exist", _ITEM),
    Status.EXISTS: ("KEY_EEXISTS", "The key exists, or its CAS differs", _ITEM),
    Status.TOO_BIG: ("E2BIG", "The value is larger than the limit", ("item-only", "invalid-input")),
    Status.INVALID: ("EINVAL", "The request breaks a rule of the protocol", ("internal", "invalid-input")),
    Status.NOT_STORED: ("NOT_STORED", "A condition for storing was not met", _ITEM),
    Status.NOT_A_NUMBER: ("DELTA_BADVAL", "The value is not a number", ("item-only", "invalid-input")),
    Status.NOT_MY_VBUCKET: ("NOT_MY_VBUCKET", "The vbucket is not on this server", ("fetch-config", "invalid-input")),
    Status.NO_BUCKET: ("NO_BUCKET", "No bucket is selected", ("conn-state-invalidated",)),
    Status.LOCKED: ("LOCKED", "The item is locked", ("item-only", "item-locked", "retry-now")),
    Status.NOT_LOCKED: ("NOT_LOCKED", "The item is not locked", _ITEM),
    Status.AUTH_STALE: ("AUTH_STALE", "The login is no longer valid", ("conn-state-invalidated", "auth")),
    Status.AUTH_ERROR: ("AUTH_ERROR", "The login was refused, or a login is required", ("conn-state-invalidated", "auth")),
    Status.AUTH_CONTINUE: ("AUTH_CONTINUE", "The login continues", ("special-handling",)),
    Status.RANGE_ERROR: ("ERANGE", "A number is out of range", ("internal", "invalid-input")),
    Status.NO_ACCESS: ("EACCESS", "The user may not do this", ("support", "auth")),
    Status.UNKNOWN_FRAME_INFO: ("UNKNOWN_FRAME_INFO", "The request has an unknown frame info", ("support",)),
    Status.UNKNOWN_COMMAND: ("UNKNOWN_COMMAND", "The command is unknown", ("support",)),
    Status.NO_MEMORY: ("ENOMEM", "The server is out of memory", _LATER),
    Status.NOT_SUPPORTED: ("NOT_SUPPORTED", "The command is not available here", ("support",)),
    Status.INTERNAL: ("EINTERNAL", "The server failed; its log says more", ("internal", "conn-state-invalidated")),
    Status.BUSY: ("EBUSY", "Another request is doing the same at the moment", _RETRY),
    Status.TEMPORARY_FAILURE: ("ETMPFAIL", "The server can't do it now", _LATER),
    Status.UNKNOWN_COLLECTION: ("UNKNOWN_COLLECTION", "The collection does not exist", ("fetch-config", "invalid-input")),
    Status.UNKNOWN_SCOPE: ("UNKNOWN_SCOPE", "The scope does not exist", ("fetch-config", "invalid-input")),
    Status.DURABILITY_INVALID_LEVEL: ("DURABILITY_INVALID_LEVEL", "The durability level is unknown", ("invalid-input",)),
    Status.DURABILITY_IMPOSSIBLE: ("DURABILITY_IMPOSSIBLE", "The server can't give this durability", _ITEM),
    Status.SCAN_CANCELLED: ("RANGE_SCAN_CANCELLED", "The scan was cancelled", ("special-handling",)),
    Status.SCAN_MORE: ("RANGE_SCAN_MORE", "The scan has more to send", ("special-handling",)),
    Status.SCAN_COMPLETE: ("RANGE_SCAN_COMPLETE", "The scan is complete", ("special-handling",)),
    Status.VBUCKET_UUID_DIFFERS: ("VBUUID_NOT_EQUAL", "The uuid of the vbucket differs", ("item-only",)),
    Status.SUBDOC_PATH_NOT_FOUND: ("SUBDOC_PATH_ENOENT", "The path does not exist in the document", ("subdoc", "item-only")),
    Status.SUBDOC_PATH_MISMATCH: ("SUBDOC_PATH_MISMATCH", "The path does not fit the document", ("subdoc", "item-only")),
    Status.SUBDOC_PATH_INVALID: ("SUBDOC_PATH_EINVAL", "The path is not valid", ("subdoc", "invalid-input")),
    Status.SUBDOC_PATH_TOO_BIG: ("SUBDOC_PATH_E2BIG", "The path is too long", ("subdoc", "invalid-input")),
    Status.SUBDOC_DOC_TOO_DEEP: ("SUBDOC_DOC_E2DEEP", "The document is nested too deeply", ("subdoc", "item-only")),
    Status.SUBDOC_VALUE_CANT_INSERT: ("SUBDOC_VALUE_CANTINSERT", "The value does not fit there", ("subdoc", "invalid-input")),
    Status.SUBDOC_DOC_NOT_JSON: ("SUBDOC_DOC_NOTJSON", "The document is not JSON", ("subdoc", "item-only")),
    Status.SUBDOC_NUM_RANGE: ("SUBDOC_NUM_ERANGE", "The number is out of range", ("subdoc", "item-only")),
    Status.SUBDOC_DELTA_INVALID: ("SUBDOC_DELTA_EINVAL", "The delta is not a number, or 0", ("subdoc", "invalid-input")),
    Status.SUBDOC_PATH_EXISTS: ("SUBDOC_PATH_EEXISTS", "The path exists in the document", ("subdoc", "item-only")),
    Status.SUBDOC_VALUE_TOO_DEEP: ("SUBDOC_VALUE_ETOODEEP", "The value is nested too deeply", ("subdoc", "item-only")),
    Status.SUBDOC_INVALID_COMBO: ("SUBDOC_INVALID_COMBO", "These operations can't be combined", ("subdoc", "invalid-input")),
    Status.SUBDOC_MULTI_PATH_FAILURE: ("SUBDOC_MULTI_PATH_FAILURE", "At least one path failed", ("subdoc", "special-handling")),
    Status.SUBDOC_SUCCESS_DELETED: (
        "SUBDOC_SUCCESS_DELETED", "It succeeded, on a deleted document", ("subdoc", "success")
    ),
    Status.SUBDOC_XATTR_INVALID_FLAGS: (
        "SUBDOC_XATTR_INVALID_FLAG_COMBO", "These flags can't be combined", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_INVALID_KEYS: (
        "SUBDOC_XATTR_INVALID_KEY_COMBO", "These attributes can't be combined", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_UNKNOWN_MACRO: ("SUBDOC_XATTR_UNKNOWN_MACRO", "The macro is unknown", ("subdoc", "invalid-input")),
    Status.SUBDOC_XATTR_UNKNOWN_VATTR: (
        "SUBDOC_XATTR_UNKNOWN_VATTR", "The virtual attribute is unknown", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_XATTR_CANT_MODIFY_VATTR: (
        "SUBDOC_XATTR_CANT_MODIFY_VATTR", "A virtual attribute can't be changed", ("subdoc", "invalid-input")
    ),
    Status.SUBDOC_MULTI_PATH_FAILURE_DELETED: (
        "SUBDOC_MULTI_PATH_FAILURE_DELETED", "At least one path of a deleted document failed", ("subdoc", "special-handling")
    ),
    Status.SUBDOC_CAN_ONLY_REVIVE_DELETED: (
        "SUBDOC_CAN_ONLY_REVIVE_DELETED_DOCUMENTS", "Only a deleted document can be revived", ("subdoc", "item-only")
    ),
    Status.SUBDOC_DELETED_CANT_HAVE_VALUE: (
        "SUBDOC_DELETED_DOCUMENT_CANT_HAVE_VALUE", "A deleted document can't have a value", ("subdoc", "invalid-input")
    ),
}  # fmt: skip


def error_map(version: int) -> bytes:
    """Return the map as JSON.

    Args:
        version: The newest version of the format that the client knows.
    """
    errors = {
        f"{status:x}": {"name": name, "desc": description, "attrs": list(attributes)}
        for status, (name, description, attributes) in _ERRORS.items()
    }
    return json.dumps({"version": min(version, VERSION), "revision": _REVISION, "errors": errors}).encode()
