"""A file of any size as a stream of Apache Arrow record batches: ``TABLE=table.csv uvicorn arrow:app``."""

import os

import pyarrow.csv
import pyarrow.ipc

from trio_spool import SpoolWriter
from trio_spool.asgi import StreamResponse


def table(out: SpoolWriter) -> None:
    """Read the file in blocks, and write each as a record batch."""
    with pyarrow.csv.open_csv(os.environ["TABLE"]) as reader, pyarrow.ipc.new_stream(out, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


async def app(scope, receive, send):
    """Answer each request with the table; a client reads it with `pyarrow.ipc.open_stream`."""
    await StreamResponse(table, content_type="application/vnd.apache.arrow.stream")(scope, receive, send)
