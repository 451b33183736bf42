"""``trio-spool load``."""

from __future__ import annotations

import csv
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import click

from ..client import Client, ServerError
from ..mcbp import MAX_FRAME, DataType, Feature
from ._common import json_option, printable, run_with_client, server_argument
from ._documents import MAX_KEY, Item, NoKeyError, NotADocumentError, from_json, parse_object
from ._progress import progress_bar
from ._session import Server, session_options

# Excel begins its files with a byte order mark.
ENCODING = "utf-8-sig"
# Requests that are under way at once.
PIPELINE = 512


class _Source:
    """A file of documents, read as it is needed, that tells how far it has been read.

    Args:
        path: The file; - for standard input.
        field: The field whose value is the key, and then the value is the whole document; None for what ``dump`` has written.
    """

    def __init__(self, path: Path, field: str | None) -> None:
        self._path = path
        self._field = field
        self.name = "standard input" if str(path) == "-" else str(path)
        self.size = None if str(path) == "-" else path.stat().st_size
        self.position = 0

    def items(self) -> Iterator[Item]:
        """Yield what is to be stored."""
        with self._open() as file:
            try:
                if self._path.suffix.lower() == ".csv":
                    yield from self._csv(file)
                else:
                    yield from self._ndjson(file)
            except UnicodeDecodeError as exc:
                raise click.ClickException(f"{self.name}: not UTF-8, behind {self.position} bytes: {exc.reason}") from None

    def _open(self) -> AbstractContextManager[IO[str]]:
        if str(self._path) == "-":
            return click.open_file("-", encoding=ENCODING, errors="strict")
        return self._path.open(encoding=ENCODING, newline="")  # as CSV wants it

    def _count(self, lines: IO[str]) -> Iterator[str]:
        for line in lines:
            self.position += len(line.encode())
            yield line

    def _ndjson(self, file: IO[str]) -> Iterator[Item]:
        for number, line in enumerate(self._count(file), 1):
            text = line.strip()
            if not text:
                continue
            try:
                yield from_json(text) if self._field is None else Item(self._key(parse_object(text)), text.encode())
            except NoKeyError as exc:
                hint = "for documents of your own, say with --key which field is the key"
                raise click.ClickException(f"{self.name}, line {number}: {exc}; {hint}") from None
            except NotADocumentError as exc:
                raise click.ClickException(f"{self.name}, line {number}: {exc}") from None

    def _csv(self, file: IO[str]) -> Iterator[Item]:
        csv.field_size_limit(MAX_FRAME)  # no server of ours takes more
        reader = csv.DictReader(self._count(file))
        try:
            for row in reader:
                yield Item(self._key(row), json.dumps(row).encode())
        except csv.Error as exc:
            raise click.ClickException(f"{self.name}, line {reader.reader.line_num}: not CSV: {exc}") from None
        except NotADocumentError as exc:
            raise click.ClickException(f"{self.name}, line {reader.line_num}: {exc}") from None

    def _key(self, document: Mapping[str, object]) -> bytes:
        """Return what a field says is the key.

        Raises:
            NotADocumentError: There is no such field, or it can't be a key.
        """
        field = self._field or ""  # there is one whenever this is called
        if field not in document:
            raise NotADocumentError(f"there is no field {field!r}; the fields are {', '.join(map(str, document))}")
        value = document[field]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value in (math.inf, -math.inf) or value != value:
            found = "missing" if value is None else f"{json.dumps(value):.40}"
            raise NotADocumentError(f"a key is a text or a number; {field!r} is {found}")
        try:
            key = str(value).encode()
        except UnicodeEncodeError:
            raise NotADocumentError(f"{field!r} has a surrogate, which is no character") from None
        if not 0 < len(key) <= MAX_KEY:
            raise NotADocumentError(f"a key has 1 to {MAX_KEY} bytes; {field!r} has {len(key)}")
        return key


@click.command()
@server_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True))
@click.option("--key", "field", help="The field whose value is the key; the whole document is the value.")
@json_option
@session_options
def load(server: Server, file: Path, field: str | None, as_json: bool) -> None:
    """Store every document of FILE (- for standard input), which "dump" has written, or "scan" as NDJSON.

    With --key, FILE has documents of any other kind: NDJSON, or CSV if it is named so. A value is then the whole document, as JSON.
    """
    if field is None and file.suffix.lower() == ".csv":
        raise click.UsageError("for CSV, say with --key which column is the key")
    if str(file) == "-":
        server.keep_stdin()
    source = _Source(file, field)

    async def work(client: Client) -> int:
        with progress_bar(as_json) as progress:
            task = progress.add_task(file.name, total=source.size)
            under_way: deque[tuple[bytes, object]] = deque()
            stored = 0

            async def settle_first() -> None:
                key, call = under_way.popleft()
                try:
                    await client.finish_set(call)  # type: ignore[arg-type]
                except ServerError as exc:
                    raise click.ClickException(f"after {stored} documents, storing {printable(key)!r}: {exc}") from None

            known = DataType.JSON if Feature.JSON in client.features else DataType.RAW
            for item in source.items():
                call = await client.begin_set(
                    item.key, item.value, flags=item.flags, expiry=item.expiry, datatype=item.datatype & known
                )  # fmt: skip
                under_way.append((item.key, call))
                if len(under_way) >= PIPELINE:
                    await settle_first()
                    stored += 1
                    progress.update(task, completed=source.position)
            while under_way:
                await settle_first()
                stored += 1
            progress.update(task, completed=source.position)
            return stored

    count = run_with_client(server, work, negotiate=True)
    click.echo(json.dumps({"stored": count}) if as_json else f"stored {count} documents")
