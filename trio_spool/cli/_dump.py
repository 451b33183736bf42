"""``trio-spool dump``."""

from __future__ import annotations

import os
from io import RawIOBase
from pathlib import Path

import attrs
import click

from .._formats import visible
from ..client import AccessError, Client, Document, UnknownCollectionError, unpack_xattrs
from ._collections import CollectionPath
from ._common import run_with_client, server_argument, server_command
from ._compression import packed
from ._documents import declaration_to_json, to_json
from ._errors import ConnectionFailedError
from ._output import Lines, open_output, standard_output
from ._places import DEFAULT_BUCKET, Declaration, Place
from ._session import Server, session_options
from ._unlisted import unlisted


@attrs.define
class _Dump:
    """What is dumped, and what has been.

    Attributes:
        client: The client, whose bucket is selected if `bucket` is given.
        lines: Where it goes.
        prefix: What the keys begin with.
        bucket: The only bucket; None for all.
        collection: The only collection; None for all.
        documents: The number of documents that were written.
        collections: The number of collections that were written.
        buckets: The number of buckets that were written.
    """

    client: Client
    lines: Lines
    prefix: bytes
    bucket: str | None
    collection: str | None
    documents: int = 0
    collections: int = 0
    buckets: int = 0

    async def run(self) -> None:
        """Write everything that was asked for, and name what is left out.

        Raises:
            ServerError: A bucket or a collection that was asked for by its name can't be read.
            ConnectionFailedError: There is nothing that this user may read.
        """
        if self.bucket is not None or self.collection is not None:
            await self._write_bucket(self.bucket or DEFAULT_BUCKET)
        else:
            await self._write_all_buckets()
        await self.lines.write()

    async def _write_all_buckets(self) -> None:
        names = await self.client.list_buckets()
        for name in names:
            try:
                await self.client.select_bucket(name)
                await self._write_bucket(name)
            except AccessError as exc:
                _leave_out(f"the bucket {name!r}: {exc}")
        if not self.buckets:
            raise ConnectionFailedError("this user may not read any bucket; the role read is needed")
        for sentence in await unlisted(self.client, names):
            _leave_out(sentence)

    async def _write_bucket(self, name: str) -> None:
        found = await self.client.collections()
        max_ttls = {f"{scope.name}.{one.name}": one.max_ttl for scope, one in found}
        if self.collection is not None:
            max_ttls = {self.collection: max_ttls.get(self.collection, 0)}
        for path, max_ttl in max_ttls.items():
            try:
                await self._write_collection(Declaration(Place(name, path), max_ttl))
            except UnknownCollectionError:
                if self.collection is not None:
                    raise
                _leave_out(f"{Place(name, path)}: it was dropped meanwhile")
        self.buckets += 1
        for scope in found.scopes if self.collection is None else ():
            if not scope.collections:
                _leave_out(f"the scope {scope.name!r} of the bucket {name!r}: it has no collections")

    async def _write_collection(self, declaration: Declaration) -> None:
        place = declaration.place
        async with self.client.scan(
            prefix=self.prefix, collection=place.collection, include_xattrs=True, name="trio-spool dump"
        ) as documents:
            if not place.always_exists:
                await self.lines.add(declaration_to_json(declaration))
            async for document in documents:
                await self.lines.add(_line(document, place))
                self.documents += 1
        self.collections += 1

    def summary(self) -> str:
        """Return a sentence about what was written."""
        where = f" from {_counted(self.collections, 'collection')} of {_counted(self.buckets, 'bucket')}"
        return f"dumped {self.documents} documents{where if self.collections > 1 else ''}"


def _line(document: Document, place: Place) -> str:
    xattrs, plain = unpack_xattrs(document)
    return to_json(plain, keys_only=False, place=place, xattrs=xattrs)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _leave_out(what: str) -> None:
    click.echo(visible(f"left out {what}"), err=True)


@server_command()
@server_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), required=False)
@click.option("--prefix", default="", help="Write only documents whose keys start with this. By default, all.")
@click.option("--collection", type=CollectionPath(), help="Write only this collection. By default, all collections of the bucket.")
@session_options
def dump(server: Server, file: Path | None, prefix: str, collection: str | None) -> None:
    """Write all documents as NDJSON, in the form that load reads.

    They are the documents of all collections of all buckets that the user may read; with --bucket or --collection, those of one.
    What is left out is named on standard error. Each line has the bucket and the collection of its document. A line without a
    document says that there is a collection. Each collection is written as it is when its turn comes. Deleted documents
    are left out, and with them the staged inserts of transactions of Couchbase's SDKs that have not ended: dump while none runs, or
    make a backup.

    They go to FILE, or to standard output if there is no FILE or if it is -. Keys and values that are not UTF-8 are written in
    base64, and flags, expiry times, datatypes and extended attributes are kept. If the name of FILE ends in .gz or .zst, it is
    compressed. FILE appears when it is complete. A device or a FIFO is written to directly.
    """

    async def work_on(client: Client, out: RawIOBase) -> _Dump:
        dumped = _Dump(client, Lines(out), os.fsencode(prefix), server.bucket, collection)
        await dumped.run()
        return dumped

    if file is None or str(file) == "-":
        dumped = run_with_client(server, lambda client: work_on(client, standard_output()), negotiate=True)
    else:
        with open_output(file) as raw, packed(raw, file.suffix.lower()) as out:
            dumped = run_with_client(server, lambda client: work_on(client, out), negotiate=True)
    if file is not None:
        click.echo(dumped.summary(), err=True)
