"""The library: worker threads, a channel, and the task that owns a stream. It knows bytes, but no protocol."""

from ._errors import SpoolBrokenError as SpoolBrokenError
from ._errors import SpoolError as SpoolError
from ._handoff import Handoff as Handoff
from ._limits import SpoolLimits as SpoolLimits
from ._loop import Event as Event
from ._loop import Loop as Loop
from ._loop import NoThreadError as NoThreadError
from ._loop import Sleeper as Sleeper
from ._loop import T as T
from ._loop import Threads as Threads
from ._manners import Manners as Manners
from ._producer import Producer as Producer
from ._producer import drive as drive
from ._producer import prepare as prepare
from ._receiving import Receiver as Receiver
from ._sender import Sender as Sender
from ._sender import open_sender as open_sender
from ._spool import Spool as Spool
from ._spool import open_spool as open_spool
from ._statistics import SenderStatistics as SenderStatistics
from ._statistics import SpoolStatistics as SpoolStatistics
from ._trio import trio_loop as trio_loop
from ._turns import Turns as Turns
from ._workers import PLACES as PLACES
from ._workers import raise_the_one as raise_the_one
from ._writer import SpoolWriter as SpoolWriter
