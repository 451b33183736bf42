"""The library: worker threads, a channel, and the task that owns a stream. It knows bytes, but no protocol."""

from ._errors import SpoolBrokenError as SpoolBrokenError
from ._errors import SpoolError as SpoolError
from ._limits import SpoolLimits as SpoolLimits
from ._producer import Producer as Producer
from ._receiving import Receiver as Receiver
from ._sender import Sender as Sender
from ._sender import open_sender as open_sender
from ._spool import Spool as Spool
from ._spool import open_spool as open_spool
from ._statistics import SenderStatistics as SenderStatistics
from ._statistics import SpoolStatistics as SpoolStatistics
from ._workers import raise_the_one as raise_the_one
from ._writer import SpoolWriter as SpoolWriter
