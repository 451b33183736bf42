"""How a command is described: one row in its family's file. Every table by opcode is made from the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ....mcbp import FrameInfoId, Opcode, Request, Shape, opcode_name
from ...conversation import ANYBODY, NOBODY, Rule

# Answers a request; its first argument is a `BinaryExchange`.
Handler = Callable[[Any, Request], None]
_OPCODES: Final = 256
# The name of every opcode without a row: a client that tries them all must not make statistics of each.
UNKNOWN: Final = "unknown"
# For commands that change an item, and for those that change one which may have an expiry that is not the purpose of the command.
DURABLE: Final = frozenset({FrameInfoId.DURABILITY})
KEEPING: Final = DURABLE | {FrameInfoId.PRESERVE_TTL}


@attrs.frozen
class Command:
    """One command.

    Attributes:
        opcode: The opcode.
        shape: What its frame may consist of, for the quiet form as well.
        run: Answers a request, in the event loop's thread. The first paragraph of its documentation is shown in the wire's
            reference, so it speaks of the command.
        who: Who may use it. A command that does not say so is refused to everybody.
        quiet: The opcode of the quiet form, if there is one: it does the same, and leaves out the reply that a client expects to
            get most of the time.
        reorderable: Whether it may overtake long commands on an unordered connection. If not, it waits for everything before it,
            and everything after it waits for it.
        whole: Whether its reply is one frame that is streamed. While `Settings.max_stream_rate` slows that down, nothing else may
            be sent on its connection: then it waits for everything before it, and everything after it waits for it.
        changes_session: Whether it changes what later requests mean: those before it are carried out, and answered, first.
        takes_cas: Whether a CAS in its header means something. If not, a Couchbase session's request with one is refused.
        infos: The frame infos that mean something to it, besides the barrier, which every command takes. Any other is refused: a
            client that asks for what a command can't do is told so.
    """

    opcode: Opcode | int
    shape: Shape
    run: Handler
    who: Rule = NOBODY
    quiet: Opcode | None = attrs.field(default=None, kw_only=True)
    reorderable: bool = attrs.field(default=False, kw_only=True)
    whole: bool = attrs.field(default=False, kw_only=True)
    changes_session: bool = attrs.field(default=False, kw_only=True)
    takes_cas: bool = attrs.field(default=False, kw_only=True)
    infos: frozenset[FrameInfoId] = attrs.field(default=frozenset(), kw_only=True)

    @property
    def opcodes(self) -> tuple[int, ...]:
        """The opcodes of the command: the loud one, and the quiet one if there is one."""
        return (self.opcode,) if self.quiet is None else (self.opcode, self.quiet)


class Table:
    """The commands of the protocol, by opcode.

    Attributes:
        commands: The rows, in the order of their opcodes.
        handlers: What runs. Opcodes without a row have the handler that says so.
        shapes: What frames may consist of; None for opcodes without a row.
        rules: Who may use it. Opcodes without a row are answered, with an error, to anybody who has logged in.
        reorderable: Whether it may overtake.
        whole: The opcodes of commands whose reply is one frame that is streamed.
        changing: The opcodes of commands that change the session.
        taking_cas: The opcodes of commands with which a CAS means something.
        takes_cas: Whether a CAS in its header means something. If not, a Couchbase session's request with one is refused.
        infos: The frame infos that mean something; None for opcodes without a row.
        loud: For each opcode that is a quiet form, the opcode of its command.
        names: The name of the command, in lower case, for statistics and logs; opcodes without a row share one.

    Args:
        commands: The rows.
        unknown: The handler of opcodes without a row.

    Raises:
        ValueError: Two rows have the same opcode.
    """

    def __init__(self, commands: Iterable[Command], unknown: Handler) -> None:
        self.commands = tuple(sorted(commands, key=lambda command: command.opcode))
        handlers: list[Handler] = [unknown] * _OPCODES
        shapes: list[Shape | None] = [None] * _OPCODES
        rules = [ANYBODY] * _OPCODES
        reorderable = [False] * _OPCODES
        names = [UNKNOWN] * _OPCODES
        changing: set[int] = set()
        taking_cas: set[int] = set()
        whole: set[int] = set()
        infos: list[frozenset[FrameInfoId] | None] = [None] * _OPCODES
        loud: dict[int, int] = {}
        for command in self.commands:
            for opcode in command.opcodes:
                if shapes[opcode] is not None:
                    raise ValueError(f"the opcode 0x{opcode:02x} is described twice")
                handlers[opcode] = command.run
                shapes[opcode] = command.shape
                rules[opcode] = command.who
                reorderable[opcode] = command.reorderable
                infos[opcode] = command.infos
                names[opcode] = opcode_name(command.opcode)
                if command.whole:
                    whole.add(opcode)
                if command.changes_session:
                    changing.add(opcode)
                if command.takes_cas:
                    taking_cas.add(opcode)
            if command.quiet is not None:
                loud[command.quiet] = command.opcode
        self.handlers = tuple(handlers)
        self.shapes = tuple(shapes)
        self.rules = tuple(rules)
        self.reorderable = tuple(reorderable)
        self.names = tuple(names)
        self.changing = frozenset(changing)
        self.taking_cas = frozenset(taking_cas)
        self.whole = frozenset(whole)
        self.infos = tuple(infos)
        self.loud = loud
