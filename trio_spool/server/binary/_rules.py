"""Which rule each opcode has."""

from __future__ import annotations

from ...mcbp import LOUD, Opcode
from ..commands import permissions
from ..commands.permissions import Rule

_SUBDOCUMENT_MUTATIONS = (
    Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
    Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_MULTI_MUTATION,
)  # fmt: skip

_LOUD_RULES: dict[int, Rule] = {
    Opcode.HELLO: permissions.FREE,
    Opcode.VERSION: permissions.FREE,
    Opcode.QUIT: permissions.FREE,
    Opcode.SASL_LIST_MECHS: permissions.FREE,
    Opcode.SASL_AUTH: permissions.FREE,
    Opcode.SASL_STEP: permissions.FREE,
    Opcode.GET_ERROR_MAP: permissions.FREE,
    Opcode.GET: permissions.READ,
    Opcode.GETK: permissions.READ,
    Opcode.GET_META: permissions.READ,
    Opcode.GET_RANDOM_KEY: permissions.READ,
    Opcode.GET_KEYS: permissions.READ,
    Opcode.OBSERVE_SEQNO: permissions.READ,
    Opcode.SUBDOC_GET: permissions.READ,
    Opcode.SUBDOC_EXISTS: permissions.READ,
    Opcode.SUBDOC_GET_COUNT: permissions.READ,
    Opcode.SUBDOC_MULTI_LOOKUP: permissions.READ,
    Opcode.RANGE_SCAN_CREATE: permissions.READ,
    Opcode.RANGE_SCAN_CONTINUE: permissions.READ,
    Opcode.RANGE_SCAN_CANCEL: permissions.READ,
    Opcode.SET: permissions.WRITE,
    Opcode.ADD: permissions.WRITE,
    Opcode.REPLACE: permissions.WRITE,
    Opcode.APPEND: permissions.WRITE,
    Opcode.PREPEND: permissions.WRITE,
    Opcode.DELETE: permissions.WRITE,
    Opcode.TOUCH: permissions.WRITE,
    Opcode.UNLOCK_KEY: permissions.WRITE,
    Opcode.INCREMENT: permissions.READ_AND_WRITE,
    Opcode.DECREMENT: permissions.READ_AND_WRITE,
    Opcode.GAT: permissions.READ_AND_WRITE,
    Opcode.GATK: permissions.READ_AND_WRITE,
    Opcode.GET_LOCKED: permissions.READ_AND_WRITE,
    **dict.fromkeys(_SUBDOCUMENT_MUTATIONS, permissions.WRITE),
    Opcode.STAT: permissions.STATS,
    Opcode.GET_COLLECTIONS_MANIFEST: permissions.ANYBODY_IN_BUCKET,
    Opcode.GET_COLLECTION_ID: permissions.ANYBODY_IN_BUCKET,
    Opcode.GET_SCOPE_ID: permissions.ANYBODY_IN_BUCKET,
    Opcode.FLUSH: permissions.ADMIN_OF_BUCKET,
    Opcode.SET_COLLECTIONS_MANIFEST: permissions.ADMIN_OF_BUCKET,
    Opcode.PREPARE_SNAPSHOT: permissions.ADMIN_OF_BUCKET,
    Opcode.RELEASE_SNAPSHOT: permissions.ADMIN_OF_BUCKET,
    Opcode.GET_FILE_FRAGMENT: permissions.ADMIN_OF_BUCKET,
    Opcode.VERBOSITY: permissions.ADMIN,
    Opcode.CREATE_BUCKET: permissions.ADMIN,
    Opcode.DELETE_BUCKET: permissions.ADMIN,
}  # fmt: skip

# By opcode. Those that are not in the table need a login, and no more.
RULES: tuple[Rule, ...] = tuple(_LOUD_RULES.get(LOUD.get(opcode, opcode), permissions.ANYBODY) for opcode in range(256))
