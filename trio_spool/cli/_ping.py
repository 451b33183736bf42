"""``trio-spool ping``."""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import Final

import click
import trio

from ..client import AccessError, AuthenticationError, CertificateError, Client, ClientError
from ._common import explain_error, json_option, run_with_server, server_argument, server_command
from ._errors import CliError, ConnectionFailedError
from ._quantities import Duration, format_duration
from ._session import Server, session_options
from ._timings import show_microseconds

# Seconds between two attempts to reach a server that is waited for: the first, and the most. Picked, not measured: a start takes
# some tenths of a second, and a script should not notice the rest.
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 1.0
# Errors that waiting does not cure.
_FINAL: Final = (AuthenticationError, AccessError, CertificateError)


@server_command()
@server_argument
@click.option("--count", "-c", type=click.IntRange(min=0), default=1, show_default=True, help="Ask this often. 0: until Ctrl-C.")
@click.option(
    "--interval", "-i", type=Duration(endless=False), default="1s", show_default=True, help="Wait this long between two questions."
)
@click.option(
    "--wait", "-w", "patience", type=Duration(), default=None,
    help="If nobody answers, try again for this long. inf: for ever. By default, try once.",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@json_option
@session_options
def ping(server: Server, count: int, interval: float, patience: float | None, quiet: bool, as_json: bool) -> None:
    """Ask a server whether it is there, and print how long its answer took.

    The question needs no login; with a user name, the login is tried as well. The exit status is 0 if every question was
    answered, and 1 otherwise.

    With --json, each answer is an object on its own line, with the seconds.
    """
    report = Report(str(server.address), quiet=quiet, as_json=as_json)

    async def work() -> None:
        if patience is not None:
            await _wait_for(server, patience)
        await _ask(server, count, interval, report)

    run_with_server(server, work)
    report.end()


class Report:
    """What is printed of the answers.

    Args:
        where: The address of the server.
        quiet: Whether to print only errors.
        as_json: Whether to print objects.
    """

    def __init__(self, where: str, *, quiet: bool, as_json: bool) -> None:
        self._where = where
        self._quiet = quiet
        self._as_json = as_json
        self._asked = 0
        self._answered = 0
        self._total = 0.0
        self._least = float("inf")
        self._most = 0.0

    def answered(self, seconds: float) -> None:
        """Print how long an answer took."""
        self._asked += 1
        self._answered += 1
        self._total += seconds
        self._least = min(self._least, seconds)
        self._most = max(self._most, seconds)
        if self._as_json:
            self._print(json.dumps({"server": self._where, "seconds": seconds}))
        else:
            self._print(f"{self._where} answered in {_shown(seconds)}")

    def failed(self, error: CliError) -> None:
        """Print why there was no answer."""
        self._asked += 1
        click.echo(error.format_message(), err=True)
        if self._as_json:
            self._print(json.dumps({"server": self._where, "error": error.format_message()}))

    def end(self) -> None:
        """Print what there was in all, if that is more than one question."""
        if self._asked > 1 and self._answered and not self._as_json:
            mean = self._total / self._answered
            times = f"{_shown(self._least)} at least, {_shown(mean)} on average, {_shown(self._most)} at most"
            self._print(f"{self._answered} of {self._asked} answered: {times}")
        if self._answered < self._asked:
            raise ConnectionFailedError(f"{self._asked - self._answered} of {self._asked} questions were not answered")

    def _print(self, line: str) -> None:
        if not self._quiet:
            click.echo(line)
            sys.stdout.flush()


def _shown(seconds: float) -> str:
    return show_microseconds(seconds * 1e6)


async def _wait_for(server: Server, patience: float) -> None:
    """Connect and ask again and again until the server answers."""
    give_up = trio.current_time() + patience
    pause = _FIRST_PAUSE
    failure: CliError | None = None
    while True:
        with trio.move_on_at(give_up):
            try:
                async with server.open() as client:
                    await client.noop()
                return
            except _FINAL:
                raise
            except (ClientError, trio.TooSlowError) as exc:
                failure = explain_error(exc, server)
        if trio.current_time() + pause >= give_up:
            break
        await trio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)
    reason = "" if failure is None else f": {failure.format_message()}"
    raise ConnectionFailedError(f"{server.address} did not answer within {format_duration(patience)}{reason}")


async def _ask(server: Server, count: int, interval: float, report: Report) -> None:
    """Ask so often, on one connection as long as that lasts.

    One question alone that fails is an error; of several, it is counted.
    """
    asked = 0
    while True:
        try:
            async with server.open() as client:
                while True:
                    report.answered(await _round_trip(client))
                    asked += 1
                    if asked == count:
                        return
                    await trio.sleep(interval)
        except _FINAL:
            raise
        except (ClientError, trio.TooSlowError) as exc:
            if count == 1:
                raise
            report.failed(explain_error(exc, server))
            asked += 1
        if asked == count:
            return
        await trio.sleep(interval)


async def _round_trip(client: Client) -> float:
    """Ask, and return the seconds until the answer."""
    began = perf_counter()
    await client.noop()
    return perf_counter() - began
