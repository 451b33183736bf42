"""The memcached binary protocol: how its frames map to commands, and outcomes to frames, one family a file.

Nothing here sees the connection: each gets an `Exchange`.
"""

from __future__ import annotations

from collections.abc import Callable

from ...mcbp import LOUD, Opcode, Request
from .._exchange import Exchange
from ._arithmetic import count
from ._buckets import create_bucket, delete_bucket, get_cluster_config, get_error_map, list_buckets, select_bucket
from ._control import hello, noop, quit_, verbosity, version
from ._deleting import delete, flush
from ._gate import admit, is_plain
from ._locking import get_locked, unlock
from ._manifest import get_collection_id, get_manifest, get_scope_id, set_manifest
from ._meta import get_meta, get_random_key, observe_seqno
from ._reading import get, get_run
from ._rules import RULES
from ._sasl import authenticate, list_mechanisms, step
from ._scanning import cancel_scan, continue_scan, create_scan, get_keys
from ._snapshots import get_file_fragment, prepare_snapshot, release_snapshot
from ._stat import stat
from ._storing import concatenate, refuse_too_big, store
from ._subdocument import look_up, mutate
from ._touching import get_and_touch, touch
from ._unknown import unknown

Command = Callable[[Exchange, Request], None]

_LOUD_COMMANDS: dict[int, Command] = {
    Opcode.GET: get,
    Opcode.GETK: get,
    Opcode.SET: store,
    Opcode.ADD: store,
    Opcode.REPLACE: store,
    Opcode.APPEND: concatenate,
    Opcode.PREPEND: concatenate,
    Opcode.INCREMENT: count,
    Opcode.DECREMENT: count,
    Opcode.DELETE: delete,
    Opcode.FLUSH: flush,
    Opcode.TOUCH: touch,
    Opcode.GAT: get_and_touch,
    Opcode.GATK: get_and_touch,
    Opcode.NOOP: noop,
    Opcode.VERSION: version,
    Opcode.VERBOSITY: verbosity,
    Opcode.QUIT: quit_,
    Opcode.HELLO: hello,
    Opcode.STAT: stat,
    Opcode.GET_KEYS: get_keys,
    Opcode.RANGE_SCAN_CREATE: create_scan,
    Opcode.RANGE_SCAN_CONTINUE: continue_scan,
    Opcode.RANGE_SCAN_CANCEL: cancel_scan,
    Opcode.PREPARE_SNAPSHOT: prepare_snapshot,
    Opcode.RELEASE_SNAPSHOT: release_snapshot,
    Opcode.GET_FILE_FRAGMENT: get_file_fragment,
    Opcode.SASL_LIST_MECHS: list_mechanisms,
    Opcode.SASL_AUTH: authenticate,
    Opcode.SASL_STEP: step,
    Opcode.SELECT_BUCKET: select_bucket,
    Opcode.LIST_BUCKETS: list_buckets,
    Opcode.CREATE_BUCKET: create_bucket,
    Opcode.DELETE_BUCKET: delete_bucket,
    Opcode.GET_CLUSTER_CONFIG: get_cluster_config,
    Opcode.GET_ERROR_MAP: get_error_map,
    Opcode.GET_COLLECTIONS_MANIFEST: get_manifest,
    Opcode.SET_COLLECTIONS_MANIFEST: set_manifest,
    Opcode.GET_COLLECTION_ID: get_collection_id,
    Opcode.GET_SCOPE_ID: get_scope_id,
    Opcode.GET_LOCKED: get_locked,
    Opcode.UNLOCK_KEY: unlock,
    Opcode.GET_META: get_meta,
    Opcode.OBSERVE_SEQNO: observe_seqno,
    Opcode.GET_RANDOM_KEY: get_random_key,
    Opcode.SUBDOC_GET: look_up,
    Opcode.SUBDOC_EXISTS: look_up,
    Opcode.SUBDOC_GET_COUNT: look_up,
    Opcode.SUBDOC_MULTI_LOOKUP: look_up,
    Opcode.SUBDOC_DICT_ADD: mutate,
    Opcode.SUBDOC_DICT_UPSERT: mutate,
    Opcode.SUBDOC_DELETE: mutate,
    Opcode.SUBDOC_REPLACE: mutate,
    Opcode.SUBDOC_ARRAY_PUSH_LAST: mutate,
    Opcode.SUBDOC_ARRAY_PUSH_FIRST: mutate,
    Opcode.SUBDOC_ARRAY_INSERT: mutate,
    Opcode.SUBDOC_ARRAY_ADD_UNIQUE: mutate,
    Opcode.SUBDOC_COUNTER: mutate,
    Opcode.SUBDOC_MULTI_MUTATION: mutate,
}

# By opcode.
COMMANDS: tuple[Command, ...] = tuple(_LOUD_COMMANDS.get(LOUD.get(opcode, opcode), unknown) for opcode in range(256))

__all__ = ["COMMANDS", "RULES", "Command", "admit", "get_run", "is_plain", "refuse_too_big"]
