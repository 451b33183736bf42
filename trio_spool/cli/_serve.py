"""``trio-spool serve``."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import platformdirs
import structlog
import trio

from ..engine import ENGINES, EngineError
from ..server import ListenError, Settings, SettingsError, serve_until_signal
from ._config import read_config

_Function = TypeVar("_Function", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_DEFAULTS = {field.name: field.default for field in attrs.fields(Settings)}


def _setting(name: str, help_: str, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Make the option of a setting; it is also taken from an environment variable, and from the configuration file."""
    field = name.replace("-", "_")
    return click.option(
        f"--{name}",
        field,
        envvar="TRIO_SPOOL_" + field.upper(),
        show_envvar=True,
        default=_DEFAULTS[field],
        show_default="is_flag" not in kwargs and _DEFAULTS[field] is not None,
        help=help_,
        **kwargs,
    )


@click.command(context_settings={"max_content_width": 120})
@click.argument("data_dir", type=click.Path(path_type=Path), required=False, envvar="TRIO_SPOOL_DATA_DIR")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    envvar="TRIO_SPOOL_CONFIG",
    show_envvar=True,
    help="A TOML file with any of these options.",
)
@_setting("listen", "tcp://HOST:PORT (port 0: any that is free), tls://… or unix:PATH; several may be given.", multiple=True)
@_setting("engine", "lmdb is durable; memory keeps nothing.", type=click.Choice(tuple(ENGINES)))
@_setting("fsync", "When a commit is forced to the disk.", type=click.Choice(["always", "everysec", "no"]))
@_setting("no-auth", "Listen where other machines can connect, though no authentication is set up.", is_flag=True)
@_setting("users", "The file of users, which trio-spool user makes; read again at SIGHUP.", type=_FILE)
@_setting("login-timeout", "A client that has not logged in after so many seconds is disconnected.", type=float)
@_setting("tls-cert", "The certificate for tls:// addresses: a PEM file.", type=_FILE)
@_setting("tls-key", "The certificate's private key: a PEM file.", type=_FILE)
@_setting("tls-client-ca", "Authorities whose certificates are taken for a client's login: a PEM file.", type=_FILE)
@_setting("tls-client-required", "Refuse clients of tls:// addresses that show no certificate of those authorities.", is_flag=True)
@_setting("vbuckets", "vbuckets of each bucket, 1 to 1024.", type=int)
@_setting("max-buckets", "Buckets that there may be.", type=int)
@_setting("disable-flush", "Refuse FLUSH.", is_flag=True)
@_setting("max-item-size", "The largest value, in bytes.", type=int)
@_setting("max-connections", "Further connections are closed as they come.", type=int)
@_setting("max-scans", "Range scans that may be open at once.", type=int)
@_setting("max-scans-per-connection", "Range scans that one connection may have open.", type=int)
@_setting("max-scan-life", "How long a range scan may be open, in seconds.", type=float)
@_setting("max-snapshots", "Copies of the database that may be kept for backups.", type=int)
@_setting("snapshot-idle", "How long a copy is kept that nobody reads, in seconds.", type=float)
@_setting("window", "What may be spooled, and queued, for a connection, in bytes.", type=int)
@_setting("batch", "What is sent in one write, in bytes.", type=int)
@_setting("look-ahead", "What is read of further requests while an answer is streamed, in bytes.", type=int)
@_setting("workers", "Threads that produce streamed answers.", type=int)
@_setting("send-timeout", "A client that accepts no byte for so many seconds is disconnected.", type=float)
@_setting("drain-timeout", "How long running answers may take to finish at the end, in seconds.", type=float)
@_setting(
    "switch-interval",
    "How long a thread may keep the interpreter when another wants it, in seconds; 0: Python's default.",
    type=float,
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    envvar="TRIO_SPOOL_VERBOSE",
    show_envvar=True,
    help="Log more, to standard error.",
)
def serve(data_dir: Path | None, verbose: bool, **values: Any) -> None:
    """Run the server until SIGTERM or SIGINT.

    DATA_DIR is where the data is kept: by default, a folder for the user's data. It is made if it is missing.

    For each address, "listening on ADDRESS" is printed once it accepts connections. At the first signal the server takes no
    further connections, lets running answers finish, and exits with status 0; at a second one it ends at once.
    """
    _configure_logging(verbose)
    values["listen"] = tuple(values["listen"])
    engine = ENGINES[values["engine"]]
    if engine.needs_directory and data_dir is None:
        data_dir = Path(platformdirs.user_data_dir("trio-spool", appauthor=False))
    if not engine.needs_directory and data_dir is not None:
        raise click.UsageError(f"the engine {engine.name} keeps nothing: leave {data_dir} out, or choose --engine lmdb")
    try:
        settings = Settings(data_dir=data_dir, **values)
        trio.run(serve_until_signal, settings, _listening, _stopping)
    except (SettingsError, EngineError, ListenError) as exc:
        raise click.ClickException(str(exc)) from None
    except BrokenPipeError:
        raise click.ClickException("nobody reads standard output, which says where we listen; send it to a file") from None


def _listening(addresses: list[str]) -> None:
    for address in addresses:
        click.echo(f"listening on {address}")
    sys.stdout.flush()


def _stopping(number: int) -> None:
    structlog.get_logger("trio_spool").info("stopping", signal=signal.Signals(number).name)


def _configure_logging(verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # Plain tracebacks: the default ones show local variables, which hold what clients have stored.
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if verbose else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
