"""Storage: blocking code, for worker threads. Knows no event loop and no protocol."""

from ._apply import apply as apply
from ._engine import Engine as Engine
from ._engine import EngineStatistics as EngineStatistics
from ._engine import Reader as Reader
from ._engine import Snapshot as Snapshot
from ._errors import DataDirectoryError as DataDirectoryError
from ._errors import EngineClosedError as EngineClosedError
from ._errors import EngineError as EngineError
from ._errors import SnapshotEndedError as SnapshotEndedError
from ._errors import TooManySnapshotsError as TooManySnapshotsError
from ._open import ENGINES as ENGINES
from ._open import open_engine as open_engine
from ._operations import Arithmetic as Arithmetic
from ._operations import Concat as Concat
from ._operations import Delete as Delete
from ._operations import Entry as Entry
from ._operations import Flush as Flush
from ._operations import Get as Get
from ._operations import Item as Item
from ._operations import Operation as Operation
from ._operations import Outcome as Outcome
from ._operations import Problem as Problem
from ._operations import Store as Store
from ._operations import StoreMode as StoreMode
from ._operations import Touch as Touch
