"""``trio-spool serve``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click
import platformdirs
from click.core import ParameterSource

from ..engine import ENGINES, EVICTION_POLICIES, EngineError, EngineFailedError, StorageError
from ..server import FAILED_STATUS, ListenError, Settings, SettingsError
from ..server.settings import LOG_LEVELS
from ..server.supervision import Supervisor, find_supervisor
from ._config import AGAIN, read_config
from ._errors import CliError
from ._logging import FORMATS
from ._modes import Mode
from ._quantities import Duration, Rate, Size, readable
from ._server_process import run_server

_Function = TypeVar("_Function", bound=Callable[..., Any])


class StorageFailedError(CliError):
    """The storage of a server has failed while it was running."""

    exit_code = FAILED_STATUS


_FILE = click.Path(dir_okay=False, path_type=Path)
# The key of the arguments in a context's `meta`.
_ARGUMENTS: Final = f"{__name__}.arguments"
_DEFAULTS = {field.name: field.default for field in attrs.fields(Settings)}


def _setting(name: str, help_: str, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Return the option of a setting, whose value may also come from an environment variable or from the configuration file."""
    field = name.replace("-", "_")
    kwargs.setdefault("default", readable(kwargs.get("type"), _DEFAULTS[field]))
    return click.option(
        f"--{name}",
        field,
        envvar="TRIO_SPOOL_" + field.upper(),
        show_envvar=True,
        show_default="is_flag" not in kwargs and _DEFAULTS[field] not in (None, ()),
        help=help_,
        **kwargs,
    )


class _SlowLog(Duration):
    """A time, or none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a time."""
        return 0.0 if isinstance(value, str) and value.strip().lower() == "none" else super().convert(value, param, ctx)


class _Serve(click.Command):
    """The command, which keeps its arguments: SIGHUP has them read again, together with the configuration file."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        kept = tuple(args)  # parsing consumes the list
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ARGUMENTS] = kept
        return context


@click.command(cls=_Serve, context_settings={"max_content_width": 120})
@click.argument("data_dir", type=click.Path(path_type=Path), required=False, envvar="TRIO_SPOOL_DATA_DIR")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    envvar="TRIO_SPOOL_CONFIG",
    show_envvar=True,
    help="A TOML file with defaults for any of these options.",
)
@_setting(
    "listen", "An address to listen on: tcp://HOST:PORT (port 0: a free one), tls://HOST:PORT or unix:PATH. Can be repeated.",
    multiple=True,
)  # fmt: skip
@_setting(
    "advertise",
    "The port that clients are told in place of the one that is listened on, for a server behind a port mapping, as docker run -p "
    "has it: OUTSIDE:INSIDE. Can be repeated, once for each listener. By default, clients are told the port that is listened on.",
    multiple=True, metavar="OUTSIDE:INSIDE",
)  # fmt: skip
@_setting(
    "management",
    "An address to listen on for Couchbase's management requests, by HTTP: tcp://HOST:PORT or tls://HOST:PORT. SDKs need them to "
    "create buckets, scopes and collections. Can be repeated.",
    multiple=True,
)
@_setting(
    "protocols",
    "The protocols that are spoken: binary, text (with the meta commands), or both. The first byte of a client decides.",
    type=click.Choice(["binary,text", "binary", "text"]),
)
@_setting(
    "metrics",
    "An address to show metrics for Prometheus on, by HTTP: /metrics, /healthz and /readyz. tcp://127.0.0.1:9464 is customary. Can "
    "be repeated. By default, there is none.",
    multiple=True, metavar="ADDRESS",
)  # fmt: skip
@_setting(
    "metrics-public", "Allow metrics on addresses that other machines can reach. Everybody there can read them.", is_flag=True
)
@_setting(
    "engine",
    "Where items are kept. lmdb: in DATA_DIR. memory: nowhere else, so that they are lost at the end.",
    type=click.Choice(tuple(ENGINES)),
)
@_setting(
    "fsync", "When writes are forced to the disk. always: before they are acknowledged. everysec: every second. no: by the system.",
    type=click.Choice(["always", "everysec", "no"]),
)  # fmt: skip
@_setting("allow-network-storage", "Allow a DATA_DIR on a network file system: NFS, SMB, 9p and the like.", is_flag=True)
@_setting("verify-reads", "Verify the checksum of each item that is read by its key. Scans and copies always do.", is_flag=True)
@_setting(
    "scrub-rate", "How much of each bucket is read in a second, to verify all items in the background. 0: nothing.", type=Rate()
)
@_setting("no-auth", "Allow to listen on addresses that other machines can reach, without users.", is_flag=True)
@_setting(
    "users", "The file of users, made by trio-spool user, and read again at SIGHUP. By default, no login is needed.", type=_FILE
)
@_setting("login-timeout", "Disconnect clients that have not logged in after this time. inf: never.", type=Duration())
@_setting("frame-timeout", "Disconnect clients that take longer than this to send one request. inf: never.", type=Duration())
@_setting("idle-timeout", "Disconnect clients that have done nothing for this time. inf: never.", type=Duration())
@_setting(
    "keepalive", "Ask for a sign of life from the systems of clients that are silent for this time. inf: never.", type=Duration()
)
@_setting("tls-cert", "The PEM file with the certificate for tls:// addresses. By default, none.", type=_FILE)
@_setting("tls-key", "The PEM file with the private key of the certificate. By default, none.", type=_FILE)
@_setting("tls-client-ca", "The PEM file with authorities whose certificates log a client in. By default, none does.", type=_FILE)
@_setting("tls-client-required", "Refuse clients at tls:// addresses that show no certificate of these authorities.", is_flag=True)
@_setting(
    "unix-mode", "The permissions of a Unix domain socket, in octal. 0700: only the user of the server can connect.",
    type=Mode(), default=f"{_DEFAULTS['unix_mode']:04o}",
)  # fmt: skip
@_setting("vbuckets", "The number of vbuckets of each bucket, from 1 to 1024.", type=int)
@_setting("max-buckets", "The maximum number of buckets. Each has its own store and writer thread.", type=int)
@_setting("disable-flush", "Refuse the command FLUSH, which deletes all items of a bucket.", is_flag=True)
@_setting("max-item-size", "The maximum size of a value.", type=Size())
@_setting(
    "max-size",
    "How much the items of each bucket may take that was not made with a bound of its own: 4 MiB or more. 0: no bound.",
    type=Size(),
)
@_setting(
    "evict",
    "What happens when the items of a bucket would take more. size-aware: what is used least for its size is evicted. none: what "
    "does not fit is refused.",
    type=click.Choice(EVICTION_POLICIES),
)
@_setting("max-connections", "The maximum number of connections. Further ones get an error, and are closed.", type=int)
@_setting(
    "max-connections-per-address",
    "The maximum number of connections from one IPv4 address, or from one IPv6 network of 64 bits. Further ones get an error.",
    type=int,
)
@_setting("max-in-flight", "The maximum number of requests of one connection that are carried out together.", type=int)
@_setting("max-jobs", "The maximum number of long commands of one connection that run at the same time.", type=int)
@_setting(
    "max-buffered",
    "The maximum of what all connections together hold in memory. Beyond it, those that hold most are closed.",
    type=Size(),
)
@_setting("min-read-rate", "Disconnect clients that take replies more slowly than this. 0: no limit.", type=Rate())
@_setting("max-stream-rate", "The maximum rate of files and range scans, all together. 0: no limit.", type=Rate())
@_setting(
    "bucket-share", "The share of scans, snapshots and workers that one of several buckets may have: 0.01 to 1.",
    type=float, metavar="SHARE",
)  # fmt: skip
@_setting(
    "user-share", "The share of scans, snapshots and workers that one of several users may have: 0.01 to 1.",
    type=float, metavar="SHARE",
)  # fmt: skip
@_setting("max-scans", "The maximum number of open range scans.", type=int)
@_setting("max-scans-per-connection", "The maximum number of open range scans of one connection.", type=int)
@_setting("max-scan-life", "Cancel range scans after this time.", type=Duration(endless=False))
@_setting(
    "max-held-size",
    "End the oldest range scan when scans make a bucket's file grow and keep more in it than this, and than its items need.",
    type=Size(),
)
@_setting("max-snapshots", "The maximum number of copies of databases that are kept for backups.", type=int)
@_setting("max-snapshots-per-connection", "The maximum number of such copies of one connection.", type=int)
@_setting("snapshot-idle", "Delete a copy for a backup that no client has read for this time.", type=Duration(endless=False))
@_setting("window", "The maximum size of replies that wait for one connection.", type=Size())
@_setting("batch", "The size of one write to a connection.", type=Size())
@_setting("look-ahead", "The maximum size of requests that are read while a reply is streamed.", type=Size())
@_setting("workers", "The number of threads that produce streamed replies.", type=int)
@_setting("send-timeout", "Disconnect clients that take no data for this time. inf: never.", type=Duration())
@_setting("drain-timeout", "Wait for running replies when the server stops, up to this time. inf: no limit.", type=Duration())
@_setting(
    "switch-interval",
    "How long a thread may keep the interpreter while another waits for it. 0: Python's own default.",
    type=Duration(endless=False),
)
@_setting(
    "slow-log", "Log commands that take longer than this, from their arrival to their answer. 0 or none: no command.",
    type=_SlowLog(),
)  # fmt: skip
@_setting("hide-keys", "Leave the keys of items out of the log, and out of the statistics of slow commands.", is_flag=True)
@_setting(
    "log-level", "Log what has this level or a higher one, to standard error.", type=click.Choice(LOG_LEVELS),
    default="info", metavar="LEVEL",
)  # fmt: skip
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    envvar="TRIO_SPOOL_LOG_FORMAT",
    show_envvar=True,
    help="How the log looks. text: lines for people. json: an object on each line. auto: text on a terminal, and else json.",
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    envvar="TRIO_SPOOL_VERBOSE",
    show_envvar=True,
    help="The same as --log-level debug, and stronger than that option.",
)
@click.pass_context
def serve(ctx: click.Context, /, **values: Any) -> None:
    """Run the server until SIGTERM or SIGINT.

    The engine lmdb keeps its data in DATA_DIR, which is created if it does not exist. By default, it is a directory for the
    data of the user who runs the server.

    When the server accepts connections, it prints "listening on ADDRESS" for each address. At the first signal, it accepts no
    further connections, waits for running replies, and exits with status 0. At a second signal, it exits at once. At SIGHUP, it
    reads the users and the configuration file again, and changes most limits. If its storage fails, it says why, and exits with
    status 74: start it again.

    A supervisor such as systemd is told when the server is ready, reloads or stops, and its watchdog is fed. Sockets that it has
    opened take the place of --listen.
    """

    def reread() -> tuple[Settings, str]:
        ctx.meta[AGAIN] = True
        try:
            again = ctx.command.make_context(ctx.info_name, list(ctx.meta[_ARGUMENTS]), ctx.parent)
            return _settings(supervisor, **again.params)
        except click.ClickException as exc:
            raise SettingsError(exc.format_message()) from exc

    try:
        supervisor = find_supervisor(os.environ)
        if ctx.get_parameter_source("listen") is not ParameterSource.DEFAULT:
            supervisor.note_unused(values["listen"])
        run_server(*_settings(supervisor, **values), reread, supervisor)
    except (EngineFailedError, StorageError) as exc:
        raise StorageFailedError(str(exc)) from None
    except (SettingsError, EngineError, ListenError) as exc:
        raise CliError(str(exc)) from None
    except BrokenPipeError:
        raise CliError("nobody reads standard output, where the addresses are printed; redirect it to a file") from None


def _settings(supervisor: Supervisor, data_dir: Path | None, verbose: bool, log_format: str, **values: Any) -> tuple[Settings, str]:
    """Return the settings that the options stand for, and the format of the log."""
    if verbose:
        values["log_level"] = "debug"
    values["listen"] = supervisor.addresses(values["listen"])
    engine = ENGINES[values["engine"]]
    if engine.needs_directory and data_dir is None:
        data_dir = Path(platformdirs.user_data_dir("trio-spool", appauthor=False))
    if not engine.needs_directory and data_dir is not None:
        raise click.UsageError(f"the engine {engine.name} keeps no data in {data_dir}; leave that out, or choose --engine lmdb")
    return Settings(data_dir=data_dir, **values), log_format
