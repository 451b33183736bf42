"""A Flask application, with downloads and uploads of any size: ``uvicorn flask_application:app``, or any other ASGI server."""

import csv
import io
from collections.abc import Iterator

from flask import Flask, Response, request

from trio_spool.wsgi import WSGIMiddleware

flask = Flask(__name__)
app = WSGIMiddleware(flask)


@flask.get("/rows")
def rows() -> Response:
    """Stream rows: only a few are in memory, however slowly the client reads."""
    return Response((f"{number},{number * number}\r\n" for number in range(100_000)), mimetype="text/csv")


@flask.post("/total")
def total() -> dict[str, int]:
    """Read the rows of an upload while they come."""
    text: Iterator[str] = io.TextIOWrapper(request.stream, "utf-8", newline="")
    return {"total": sum(int(row[1]) for row in csv.reader(text))}
