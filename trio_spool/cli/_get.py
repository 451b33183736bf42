"""``trio-spool get``."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import click

from .._formats import visible
from ..client import Client, NotFoundError, StoredValue
from ._collections import collection_option
from ._commands import print_table
from ._common import KeyCommand, json_option, run_with_client, server_argument, server_command
from ._documents import text_fields
from ._keys_of_items import fields_of, keys_argument, report_missing
from ._keyspace import request_prefix
from ._output import Chunks, standard_output
from ._session import Server, session_options

# The bytes of a value that a table shows. Picked: the longest value kept the table busy for more than 40 seconds.
_SHOWN: Final = 10_000
# Requests that are sent ahead. Picked: enough that a far server is asked for a hundred keys in a few round trips, while the values
# that wait, of up to 20 MiB each, stay few.
_AHEAD: Final = 16


@server_command(cls=KeyCommand)
@server_argument
@keys_argument
@click.option("--long", is_flag=True, help="Print a table: the key, the flags, the CAS, the size and the value.")
@json_option
@click.option("--raw", is_flag=True, help="Write the bytes of the values and nothing else, also to a terminal.")
@collection_option
@session_options
def get(server: Server, keys: tuple[bytes, ...], long: bool, as_json: bool, raw: bool, collection: str | None) -> None:
    r"""Print the value of each KEY.

    To a pipe or a file, the bytes of the value are written as they are. On a terminal, control characters and bytes that are not
    UTF-8 are shown as \x and two hexadecimal digits, and a newline follows. With several keys, a newline follows each value in
    either case, but not with --raw.

    With --json, each item is an object on its own line, and a value that is not UTF-8 is in base64, as value_base64. With --long,
    only the beginning of a long value is printed, with its size.

    Keys that do not exist are named on standard error, and the exit status is 1.
    """
    if long + as_json + raw > 1:
        raise click.UsageError("--long, --json and --raw exclude each other: give one of them")
    rows: list[list[str]] = []
    absent: list[bytes] = []
    printer = _Printer(raw=raw, as_json=as_json, several=len(keys) > 1, collection=collection)

    async def work(client: Client) -> None:
        prefix = await request_prefix(client, collection)
        async for key, stored in _get_all(server, client, prefix, keys):
            if stored is None:
                absent.append(key)
            elif long:
                rows.append(_row(key, stored))
            else:
                await printer.print(key, stored)

    run_with_client(server, work)
    if rows:
        print_table(["key", "flags", "cas", "bytes", "value"], rows)
    report_missing(absent, collection)


def _row(key: bytes, stored: StoredValue) -> list[str]:
    size = len(stored.value)
    value = visible(stored.value[:_SHOWN])
    if size > _SHOWN:
        value += f"… (the first {_SHOWN} of {size} bytes; get without --long prints all)"
    return [visible(key), str(stored.flags), str(stored.cas), str(size), value]


async def _get_all(
    server: Server, client: Client, prefix: bytes, keys: Sequence[bytes]
) -> AsyncIterator[tuple[bytes, StoredValue | None]]:
    """Yield each key with its value, in order, or with None if it does not exist."""
    waiting: deque[tuple[bytes, Any]] = deque()
    rest = iter(keys)
    while True:
        while len(waiting) < _AHEAD and (key := next(rest, None)) is not None:
            waiting.append((key, await client.begin_get(prefix + key)))
        if not waiting:
            return
        key, call = waiting.popleft()
        try:
            with server.answering():
                stored = await client.finish_get(call)
        except NotFoundError:
            yield key, None
        else:
            yield key, stored


class _Printer:
    """Prints values as they come.

    Args:
        raw: Whether to write their bytes alone.
        as_json: Whether to print JSON.
        several: Whether there are several.
        collection: The collection that they are in.
    """

    def __init__(self, *, raw: bool, as_json: bool, several: bool, collection: str | None) -> None:
        self._raw = raw
        self._as_json = as_json
        self._several = several
        self._collection = collection
        self._terminal = sys.stdout is not None and sys.stdout.isatty()

    async def print(self, key: bytes, stored: StoredValue) -> None:
        """Print a value."""
        if self._as_json:
            described = {"flags": stored.flags, "cas": stored.cas}
            line = json.dumps({**fields_of(key, self._collection), **described, **text_fields("value", stored.value)})
            await self._write(line.encode() + b"\n")
        elif self._raw or not self._terminal:
            await self._write(stored.value + (b"\n" if self._several and not self._raw else b""))
        else:
            await self._write(_for_terminal(stored.value).encode(sys.stdout.encoding, "backslashreplace"))

    async def _write(self, data: bytes) -> None:
        chunks = Chunks(standard_output())
        await chunks.add(data)
        await chunks.write()


def _for_terminal(value: bytes) -> str:
    """Return a value as a terminal may show it: its lines and tabs stay, and a newline is at the end."""
    text = value.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    shown = "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))
    return shown if shown.endswith("\n") else shown + "\n"
