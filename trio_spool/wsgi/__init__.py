"""WSGI: run Flask, Django, Bottle, or any other WSGI application under any ASGI server, on Trio and on asyncio."""

from ._middleware import WSGIMiddleware as WSGIMiddleware

__all__ = ["WSGIMiddleware"]
