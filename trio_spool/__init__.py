"""Stream what blocking code produces: worker threads spool, and the one task that owns the socket sends.

Who may import whom, from the top down; a checker holds it to that::

    cli                          click commands
    testing                      a server for tests, and a pytest plugin
    client  server               a Trio client of the protocol; the service
    asgi  wsgi                   responses of ASGI applications; WSGI applications on ASGI servers
    streams  uploads             a spool as an object, and the other direction, on either loop
    asyncio                      this library on asyncio
    _core  mcbp  engine  auth    this library; the wire; storage; users. They do not know each other.

Importing this package loads nothing else. `_core` is loaded, and Trio with it, at the first use of one of its names: the
command line and the pytest plugin are quicker without them.
"""

from ._version import __version__ as __version__

TYPE_CHECKING = False  # type checkers know the name; importing `typing` would be most of the time of importing this package
if TYPE_CHECKING:
    from ._core import BatchChannel as BatchChannel
    from ._core import ItemWriter as ItemWriter
    from ._core import Producer as Producer
    from ._core import Sender as Sender
    from ._core import SenderStatistics as SenderStatistics
    from ._core import Spool as Spool
    from ._core import SpoolBrokenError as SpoolBrokenError
    from ._core import SpoolClosedError as SpoolClosedError
    from ._core import SpoolError as SpoolError
    from ._core import SpoolExit as SpoolExit
    from ._core import SpoolFullError as SpoolFullError
    from ._core import SpoolLimits as SpoolLimits
    from ._core import SpoolStatistics as SpoolStatistics
    from ._core import SpoolWriter as SpoolWriter
    from ._core import open_sender as open_sender
    from ._core import open_spool as open_spool
    from .streams import Stream as Stream
    from .streams import stream as stream
    from .streams import wait_closed as wait_closed

__all__ = [
    "BatchChannel",
    "ItemWriter",
    "Producer",
    "Sender",
    "SenderStatistics",
    "Spool",
    "SpoolBrokenError",
    "SpoolClosedError",
    "SpoolError",
    "SpoolExit",
    "SpoolFullError",
    "SpoolLimits",
    "SpoolStatistics",
    "SpoolWriter",
    "Stream",
    "__version__",
    "open_sender",
    "open_spool",
    "stream",
    "wait_closed",
]
_STREAMS = {"Stream", "stream", "wait_closed"}


def __getattr__(name: str) -> object:
    if name in __all__:
        import importlib  # here, so that a program that is interrupted has less to import before it can end itself

        room = importlib.import_module(".streams" if name in _STREAMS else "._core", __name__)
        value: object = getattr(room, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
