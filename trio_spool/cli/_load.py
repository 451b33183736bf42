"""``trio-spool load``."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..client import Client, ServerError
from ._common import json_option, run_with_client, server_argument

# Requests that are under way at once.
PIPELINE = 512


class _Source:
    """A file of documents, read as it is needed, that tells how far it has been read."""

    def __init__(self, path: Path, field: str) -> None:
        self._path = path
        self._field = field
        self.size = path.stat().st_size
        self.position = 0

    def documents(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values: the value is the line as it stands (NDJSON), or the row as JSON (CSV)."""
        with self._path.open(encoding="utf-8", newline="") as file:
            yield from self._csv(file) if self._path.suffix.lower() == ".csv" else self._ndjson(file)

    def _count(self, lines: TextIO) -> Iterator[str]:
        for line in lines:
            self.position += len(line.encode())
            yield line

    def _ndjson(self, file: TextIO) -> Iterator[tuple[bytes, bytes]]:
        for number, line in enumerate(self._count(file), 1):
            text = line.strip()
            if not text:
                continue
            try:
                document = json.loads(text)
            except ValueError as exc:
                raise click.ClickException(f"{self._path}, line {number}: not JSON: {exc}") from None
            if not isinstance(document, dict):
                raise click.ClickException(f"{self._path}, line {number}: not a JSON object")
            yield self._key(document, number), text.encode()

    def _csv(self, file: TextIO) -> Iterator[tuple[bytes, bytes]]:
        reader = csv.DictReader(self._count(file))
        try:
            for row in reader:
                yield self._key(row, reader.line_num), json.dumps(row).encode()
        except csv.Error as exc:
            raise click.ClickException(f"{self._path}, line {reader.line_num}: not CSV: {exc}") from None

    def _key(self, document: dict[str, object], number: int) -> bytes:
        where = f"{self._path}, line {number}"
        if self._field not in document:
            fields = ", ".join(map(str, document))
            raise click.ClickException(f"{where}: there is no field {self._field!r}; the fields are {fields}")
        key = str(document[self._field]).encode()
        if not 0 < len(key) <= 250:
            raise click.ClickException(f"{where}: a key has 1 to 250 bytes; {self._field!r} has {len(key)}")
        return key


@click.command()
@server_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", "field", required=True, help="The field whose value is the key.")
@json_option
def load(server: tuple[str, int], file: Path, field: str, as_json: bool) -> None:
    """Store every document of FILE, which is NDJSON, or CSV if it is named so; a value is the whole document, as JSON."""
    source = _Source(file, field)

    async def work(client: Client) -> int:
        with _progress(as_json) as progress:
            task = progress.add_task(file.name, total=source.size)
            under_way: deque[tuple[bytes, object]] = deque()
            stored = 0

            async def settle_first() -> None:
                key, call = under_way.popleft()
                try:
                    await client.settle(call)  # type: ignore[arg-type]
                except ServerError as exc:
                    raise click.ClickException(f"after {stored} documents, storing {key.decode()!r}: {exc}") from None

            for key, value in source.documents():
                under_way.append((key, await client.store_nowait(key, value)))
                if len(under_way) >= PIPELINE:
                    await settle_first()
                    stored += 1
                    progress.update(task, completed=source.position)
            while under_way:
                await settle_first()
                stored += 1
            progress.update(task, completed=source.size)
            return stored

    count = run_with_client(server, work)
    click.echo(json.dumps({"stored": count}) if as_json else f"stored {count} documents")


def _progress(quiet: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
