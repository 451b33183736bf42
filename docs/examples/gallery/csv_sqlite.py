"""A table of an SQLite database as CSV: ``DATABASE=people.db uvicorn csv_sqlite:app``."""

import csv
import os
import sqlite3
from contextlib import closing

from trio_spool import SpoolWriter
from trio_spool.asgi import StreamResponse


def report(out: SpoolWriter) -> None:
    """Run a query, in one worker thread: a connection of sqlite3 belongs to its thread."""
    with closing(sqlite3.connect(os.environ["DATABASE"])) as database:
        cursor = database.execute("SELECT number, name FROM people ORDER BY number")
        writer = csv.writer(out.text())
        writer.writerow(column for column, *_ in cursor.description)
        writer.writerows(cursor)


async def app(scope, receive, send):
    """Answer each request with the whole table."""
    await StreamResponse(report, content_type="text/csv; charset=utf-8")(scope, receive, send)
