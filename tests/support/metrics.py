"""Asking a service for its metrics and its health, as Prometheus and probes do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families

from support.http import Answer, Visitor

# The values of a scrape, by name and labels.
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def port_of(service: Any) -> int:
    """Return the port of the pages, which is that of the last address."""
    return int(service.addresses[-1].split()[0].rsplit(":", 1)[1])


@asynccontextmanager
async def visiting(port: int) -> AsyncIterator[Visitor]:
    """Connect to the pages."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Visitor(stream)


async def ask(port: int, path: str, *headers: str, method: str = "GET") -> Answer:
    """Ask for a page, with some headers."""
    async with visiting(port) as client:
        lines = "".join(f"{header}\r\n" for header in headers)
        return await client.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())


def values_of(text: str) -> Values:
    """Parse a scrape."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(port: int) -> Values:
    """Return the metrics."""
    answer = await ask(port, "/metrics")
    assert answer.status == 200
    return values_of(answer.body.decode())
