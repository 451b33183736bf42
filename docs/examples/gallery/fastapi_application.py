"""A FastAPI application that streams what blocking code makes, both ways: ``uvicorn fastapi_application:app``."""

from fastapi import FastAPI, Request

from trio_spool.asgi.starlette import StreamResponse
from trio_spool.uploads import SpoolReader, consume

app = FastAPI()


def add(file: SpoolReader) -> int:
    """Add up the second column of a CSV file."""
    return sum(int(line.split(b",")[1]) for line in file)


@app.get("/rows")
async def rows() -> StreamResponse:
    """Run a generator in worker threads."""
    return StreamResponse((b"%d,%d\r\n" % (number, number * number) for number in range(100_000)), media_type="text/csv")


@app.post("/total")
async def total(request: Request) -> int:
    """Run a function in a worker thread, which reads the upload while it comes."""
    return await consume(request.stream(), add)
