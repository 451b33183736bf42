"""The answer of a language model, token by token, by a blocking client: ``MODEL=http://HOST/v1/completions uvicorn tokens:app``."""

import json
import os
from collections.abc import Iterator

import httpx
from fastapi import FastAPI

from trio_spool.asgi.starlette import EventResponse

app = FastAPI()


def tokens(prompt: str) -> Iterator[str]:
    """Ask the model. If the reader leaves, this ends, and the model's server sees that its client has left."""
    with httpx.stream("POST", os.environ["MODEL"], json={"prompt": prompt, "stream": True}, timeout=None) as response:
        for line in filter(lambda line: line.startswith("data: {"), response.iter_lines()):
            yield json.loads(line.removeprefix("data: "))["choices"][0]["text"]


@app.get("/ask")
async def ask(prompt: str) -> EventResponse:
    """Answer with an event for each token."""
    return EventResponse(tokens(prompt))
