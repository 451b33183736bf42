"""A Django application on an ASGI server, with a view that streams: ``uvicorn django_application:app``."""

from collections.abc import Iterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

import trio_spool


def rows() -> Iterator[bytes]:
    """Give rows, in worker threads: a queryset's `iterator` goes here."""
    yield from (b"%d,%d\r\n" % (number, number * number) for number in range(100_000))


async def report(request: HttpRequest) -> StreamingHttpResponse:
    """Answer with a stream. If the client leaves, the generator is closed."""
    return StreamingHttpResponse(trio_spool.stream(rows()), content_type="text/csv")


settings.configure(ROOT_URLCONF=(path("rows", report),), ALLOWED_HOSTS=["*"], SECRET_KEY="of a real application")
app = get_asgi_application()
