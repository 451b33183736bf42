"""``trio-spool load``."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

import click

from .._formats import visible
from ..client import Client
from ..mcbp import MAX_FRAME
from ._collections import CollectionPath
from ._common import json_option, run_with_client, server_argument, server_command
from ._compression import inner_suffix, unpack
from ._destinations import Destinations
from ._documents import MAX_KEY, Item, from_json, parse_object
from ._errors import DocumentError, FileError, MissingKeyError
from ._places import Declaration
from ._progress import progress_bar
from ._session import Server, session_options
from ._storing import store_all

# Files that Excel writes start with a byte order mark.
ENCODING: Final = "utf-8-sig"
# The characters of the longest line, which has the longest request, each byte of it as an escape of six characters, such as \u0000.
MAX_LINE: Final = 6 * MAX_FRAME


class _Source:
    """A file of documents, read as they are needed.

    Args:
        path: The file; - for standard input.
        field: The field whose value is the key of a document, which is stored as a whole; None for the form that ``dump`` writes.
        max_line: The maximum number of characters of a line.

    Attributes:
        name: What messages call the file.
        size: Its bytes; None for standard input.
    """

    def __init__(self, path: Path, field: str | None, max_line: int = MAX_LINE) -> None:
        self._path = path
        self._field = field
        self._max_line = max_line
        self.name = "standard input" if str(path) == "-" else str(path)
        self.size = None if str(path) == "-" else path.stat().st_size
        self._position = 0  # the bytes of its text that have been read
        self._file: BinaryIO | None = None

    def items(self) -> Generator[Item | Declaration, None, None]:
        """Yield the items to store, and the collections that lines declare.

        Raises:
            FileError: The file is not UTF-8, or a line of it is not a document.
        """
        with self._open() as file:
            try:
                if inner_suffix(self._path) == ".csv":
                    yield from self._csv(file)
                else:
                    yield from self._ndjson(file)
            except UnicodeDecodeError as exc:
                raise FileError(f"{self.name} is not valid UTF-8 after byte {self._position}: {exc.reason}") from None

    @property
    def progress(self) -> int:
        """The bytes of the file, as it is on the disk, that have been read."""
        if self._file is None or self._file.closed:
            return self.size or 0
        return self._file.tell() if self._file.seekable() else self._position

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        with ExitStack() as stack:
            if str(self._path) == "-":
                self._file = sys.stdin.buffer
            else:
                self._file = stack.enter_context(self._path.open("rb"))
            file = self._file if isinstance(self._file, io.BufferedReader) else io.BufferedReader(cast(Any, self._file))
            content = unpack(file, self.name, self._path.suffix.lower())
            text = io.TextIOWrapper(content, encoding=ENCODING, newline="")  # the CSV reader handles newlines itself
            try:
                yield text
            finally:
                text.detach()  # standard input stays open

    def _count(self, file: IO[str]) -> Iterator[str]:
        while line := file.readline(self._max_line + 1):
            if len(line) > self._max_line:
                raise FileError(f"{self.name} has a line of more than {self._max_line} characters after byte {self._position}")
            self._position += len(line.encode())
            yield line

    def _ndjson(self, file: IO[str]) -> Iterator[Item | Declaration]:
        for number, line in enumerate(self._count(file), 1):
            text = line.strip()
            if not text:
                continue
            try:
                yield from_json(text) if self._field is None else Item(self._key(parse_object(text)), text.encode())
            except MissingKeyError as exc:
                hint = "if trio-spool dump did not write this file, name the field of the key with --key"
                raise DocumentError(f"{self.name}, line {number}: {exc}; {hint}") from None
            except DocumentError as exc:
                raise DocumentError(f"{self.name}, line {number}: {exc}") from None

    def _csv(self, file: IO[str]) -> Iterator[Item]:
        csv.field_size_limit(MAX_FRAME)  # the longest request
        reader = csv.DictReader(self._count(file))
        try:
            for row in reader:
                yield Item(self._key(row), json.dumps(row).encode())
        except csv.Error as exc:
            raise DocumentError(f"{self.name}, line {reader.reader.line_num}: not valid CSV: {exc}") from None
        except DocumentError as exc:
            raise DocumentError(f"{self.name}, line {reader.line_num}: {exc}") from None

    def _key(self, document: Mapping[str, object]) -> bytes:
        """Return the key of a document, which is the value of a field.

        Raises:
            DocumentError: There is no such field, or its value can't be a key.
        """
        field = self._field or ""  # only called with a field
        if field not in document:
            raise DocumentError(f"there is no field {field!r}; the fields are {', '.join(map(str, document))}")
        value = document[field]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value in (math.inf, -math.inf) or value != value:
            found = "missing" if value is None else f"{json.dumps(value):.40}"
            raise DocumentError(f"the key must be text or a number; {field!r} is {found}")
        try:
            key = str(value).encode()
        except UnicodeEncodeError:
            raise DocumentError(f"{field!r} contains a surrogate, which is not a character") from None
        if not 0 < len(key) <= MAX_KEY:
            raise DocumentError(f"a key has 1 to {MAX_KEY} bytes; {field!r} has {len(key)}")
        return key


def _note(sentence: str) -> None:
    click.echo(visible(sentence), err=True)


@server_command()
@server_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True))
@click.option(
    "--key",
    "field",
    help="The field or column with the key. The value is the whole document, as JSON. By default, FILE has the form of dump.",
)
@click.option(
    "--collection", type=CollectionPath(),
    help="Store all documents in this collection, which must exist. By default, in that of their line, or in _default._default.",
)  # fmt: skip
@json_option
@session_options
def load(server: Server, file: Path, field: str | None, collection: str | None, as_json: bool) -> None:
    """Store every document of FILE.

    FILE, or standard input if it is -, has the form that dump and scan write: NDJSON. With --key, it can have any other
    documents: as CSV with a header if its name ends in .csv, and otherwise as NDJSON. Data of gzip and zstd are decompressed,
    whatever the name. An item that exists is replaced.

    Each document goes to the bucket and the collection that its line says. Those that do not exist are created, which needs the
    role admin. With --bucket, all documents go to that bucket. Documents whose line says neither, as in files of earlier versions,
    go to the default ones.
    """
    if field is None and inner_suffix(file) == ".csv":
        raise click.UsageError("a CSV file needs --key with the name of a column")
    if str(file) == "-":
        server.keep_stdin()
    source = _Source(file, field)

    async def work(client: Client) -> int:
        with progress_bar(as_json) as progress, closing(source.items()) as items:
            task = progress.add_task(file.name, total=source.size)
            destinations = Destinations(client, server.bucket, collection, _note, has_collections=not server.address.classic)
            return await store_all(
                client, items, lambda: progress.update(task, completed=source.progress), destinations
            )  # fmt: skip

    count = run_with_client(server, work, negotiate=True)
    click.echo(json.dumps({"stored": count}) if as_json else f"stored {count} documents")
