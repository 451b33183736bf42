"""What the connections of a service share: counters, scans, snapshots, logins, and which connections there are.

Knows neither a connection nor a protocol: `OpenConnection` is what a connection shows of itself.
"""

from ._admission import Admission as Admission
from ._admission import NoPlace as NoPlace
from ._admission import counted_as as counted_as
from ._allocator import Allocator as Allocator
from ._buffers import SMALL as SMALL
from ._buffers import Buffers as Buffers
from ._causes import Cause as Cause
from ._connections import Activity as Activity
from ._connections import OpenConnection as OpenConnection
from ._connections import RunningJob as RunningJob
from ._connections import Total as Total
from ._counters import Counters as Counters
from ._entrances import Entrance as Entrance
from ._entrances import find_entrance as find_entrance
from ._events import EventKind as EventKind
from ._events import Events as Events
from ._events import Watcher as Watcher
from ._file_snapshots import FileSnapshot as FileSnapshot
from ._file_snapshots import FileSnapshots as FileSnapshots
from ._file_snapshots import TooManyFileSnapshotsError as TooManyFileSnapshotsError
from ._file_snapshots import remove_all_in_thread as remove_all_in_thread
from ._life import Life as Life
from ._life import Stage as Stage
from ._listener import Listener as Listener
from ._logins import EVERYTHING as EVERYTHING
from ._logins import PLAIN as PLAIN
from ._logins import Logins as Logins
from ._pace import Pace as Pace
from ._range_scan import Continue as Continue
from ._range_scan import ContinueLimits as ContinueLimits
from ._range_scan import Ending as Ending
from ._range_scan import Pack as Pack
from ._range_scan import RangeScan as RangeScan
from ._range_scan import ScanQuery as ScanQuery
from ._scan_state import ScanBusyError as ScanBusyError
from ._scan_state import ScanCancelledError as ScanCancelledError
from ._scan_state import ScanEndedError as ScanEndedError
from ._scan_state import ScanError as ScanError
from ._scans import Scans as Scans
from ._scans import TooManyScansError as TooManyScansError
from ._sequence_waits import SequenceWait as SequenceWait
from ._sequence_waits import SequenceWaits as SequenceWaits
from ._shared import Shared as Shared
from ._shares import Shares as Shares
from ._throttle import Throttle as Throttle
from ._timekeeper import Timekeeper as Timekeeper
from ._timings import CUT_OFF as CUT_OFF
from ._timings import CommandTimings as CommandTimings
from ._timings import LoopLag as LoopLag
from ._timings import Timings as Timings
from ._tuning import Tuning as Tuning
