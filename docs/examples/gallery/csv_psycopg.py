"""A query of a PostgreSQL database as CSV: ``DATABASE=postgresql:///test uvicorn csv_psycopg:app``."""

import os
from collections.abc import Iterator

import psycopg

from trio_spool.asgi import StreamResponse


def rows() -> Iterator[memoryview]:
    """Let the server make the CSV. If the client leaves, the query is cancelled, and the connection closed."""
    with psycopg.connect(os.environ["DATABASE"]) as connection, connection.cursor() as cursor:
        query = (
            "COPY (SELECT n AS number, n * n AS square FROM generate_series(1, 100000::bigint) n) TO STDOUT (FORMAT csv, HEADER)"
        )
        with cursor.copy(query) as copy:
            yield from copy


async def app(scope, receive, send):
    """Answer each request with the rows of the query."""
    await StreamResponse(rows(), content_type="text/csv; charset=utf-8")(scope, receive, send)
