"""What pandas makes of a file of any size, as lines of JSON: ``TABLE=table.csv uvicorn pandas_rows:app``."""

import os

import pandas

from trio_spool import SpoolWriter
from trio_spool.asgi import StreamResponse


def table(out: SpoolWriter) -> None:
    """Work on some thousand rows at a time, so that no more are in memory."""
    with pandas.read_csv(os.environ["TABLE"], chunksize=5000) as frames:
        for frame in frames:
            frame["square"] = frame["number"] ** 2
            frame.to_json(out, orient="records", lines=True)


async def app(scope, receive, send):
    """Answer each request with a line for each row."""
    await StreamResponse(table, content_type="application/x-ndjson")(scope, receive, send)
