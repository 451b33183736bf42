"""Formats that several packages share, and how text of others is shown. This package imports no other package of this project."""

from ._backups import BACKUP_BUCKETS as BACKUP_BUCKETS
from ._backups import BACKUP_LIST as BACKUP_LIST
from ._hosts import host_and_port as host_and_port
from ._hosts import host_of as host_of
from ._leb128 import MAX_LEB128_BYTES as MAX_LEB128_BYTES
from ._leb128 import decode_leb128 as decode_leb128
from ._leb128 import encode_leb128 as encode_leb128
from ._manifest import Collection as Collection
from ._manifest import Scope as Scope
from ._manifest import encode_manifest as encode_manifest
from ._prefixes import prefix_end as prefix_end
from ._visible import escape_in_json as escape_in_json
from ._visible import is_visible as is_visible
from ._visible import visible as visible
