"""Who may use a command, and when."""

from __future__ import annotations

from typing import NamedTuple

from ..auth import Role
from ..mcbp import LOUD, Opcode


class Rule(NamedTuple):
    """What must be so before a command runs.

    Attributes:
        roles: What the user must be, on the bucket.
        bucket: Whether there must be one.
        before_login: Whether nobody needs to have logged in.
    """

    roles: tuple[Role, ...] = ()
    bucket: bool = False
    before_login: bool = False


_FREE = Rule(before_login=True)
_ANYBODY = Rule()
_READ = Rule((Role.READ,), bucket=True)
_WRITE = Rule((Role.WRITE,), bucket=True)
_BOTH = Rule((Role.READ, Role.WRITE), bucket=True)
_STATS = Rule((Role.STATS,), bucket=True)
_ADMIN = Rule((Role.ADMIN,))
_ADMIN_OF_BUCKET = Rule((Role.ADMIN,), bucket=True)
_BUCKET = Rule(bucket=True)

_SUBDOCUMENT_MUTATIONS = (
    Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
    Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_MULTI_MUTATION,
)  # fmt: skip

_LOUD_RULES: dict[int, Rule] = {
    Opcode.HELLO: _FREE,
    Opcode.VERSION: _FREE,
    Opcode.QUIT: _FREE,
    Opcode.SASL_LIST_MECHS: _FREE,
    Opcode.SASL_AUTH: _FREE,
    Opcode.SASL_STEP: _FREE,
    Opcode.GET_ERROR_MAP: _FREE,
    Opcode.GET: _READ,
    Opcode.GETK: _READ,
    Opcode.GET_META: _READ,
    Opcode.GET_RANDOM_KEY: _READ,
    Opcode.GET_KEYS: _READ,
    Opcode.OBSERVE_SEQNO: _READ,
    Opcode.SUBDOC_GET: _READ,
    Opcode.SUBDOC_EXISTS: _READ,
    Opcode.SUBDOC_GET_COUNT: _READ,
    Opcode.SUBDOC_MULTI_LOOKUP: _READ,
    Opcode.RANGE_SCAN_CREATE: _READ,
    Opcode.RANGE_SCAN_CONTINUE: _READ,
    Opcode.RANGE_SCAN_CANCEL: _READ,
    Opcode.SET: _WRITE,
    Opcode.ADD: _WRITE,
    Opcode.REPLACE: _WRITE,
    Opcode.APPEND: _WRITE,
    Opcode.PREPEND: _WRITE,
    Opcode.DELETE: _WRITE,
    Opcode.TOUCH: _WRITE,
    Opcode.UNLOCK_KEY: _WRITE,
    Opcode.INCREMENT: _BOTH,
    Opcode.DECREMENT: _BOTH,
    Opcode.GAT: _BOTH,
    Opcode.GATK: _BOTH,
    Opcode.GET_LOCKED: _BOTH,
    **dict.fromkeys(_SUBDOCUMENT_MUTATIONS, _WRITE),
    Opcode.STAT: _STATS,
    Opcode.GET_COLLECTIONS_MANIFEST: _BUCKET,
    Opcode.GET_COLLECTION_ID: _BUCKET,
    Opcode.GET_SCOPE_ID: _BUCKET,
    Opcode.FLUSH: _ADMIN_OF_BUCKET,
    Opcode.SET_COLLECTIONS_MANIFEST: _ADMIN_OF_BUCKET,
    Opcode.PREPARE_SNAPSHOT: _ADMIN_OF_BUCKET,
    Opcode.RELEASE_SNAPSHOT: _ADMIN_OF_BUCKET,
    Opcode.GET_FILE_FRAGMENT: _ADMIN_OF_BUCKET,
    Opcode.VERBOSITY: _ADMIN,
    Opcode.CREATE_BUCKET: _ADMIN,
    Opcode.DELETE_BUCKET: _ADMIN,
}  # fmt: skip

# By opcode. Those that are not in the table need a login, and no more.
RULES: tuple[Rule, ...] = tuple(_LOUD_RULES.get(LOUD.get(opcode, opcode), _ANYBODY) for opcode in range(256))
