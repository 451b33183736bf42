"""The commands, one family a file: parse, run, reply. A command never sees the connection; it gets an `Exchange`."""

from __future__ import annotations

from collections.abc import Callable

from ...mcbp import LOUD, Opcode, Request
from .._exchange import Exchange
from ._arithmetic import count
from ._control import hello, noop, quit_, verbosity, version
from ._deleting import delete, flush
from ._reading import get, get_run
from ._scanning import cancel_scan, continue_scan, create_scan, get_keys
from ._snapshots import get_file_fragment, prepare_snapshot, release_snapshot
from ._stat import stat
from ._storing import concatenate, refuse_too_big, store
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
}

# By opcode.
COMMANDS: tuple[Command, ...] = tuple(_LOUD_COMMANDS.get(LOUD.get(opcode, opcode), unknown) for opcode in range(256))

__all__ = ["COMMANDS", "Command", "get_run", "refuse_too_big"]
