"""The hand-over: what a worker emits, and the event loop takes in batches."""

from ._batches import B as B
from ._batches import Batches as Batches
from ._fragments import as_bytes as as_bytes
from ._handoff import Handoff as Handoff
from ._items import BYTES as BYTES
from ._items import Bytes as Bytes
from ._items import ItemWriter as ItemWriter
from ._items import Size as Size
from ._items import check_size as check_size
from ._items import new_handoff as new_handoff
from ._items import usual_limits as usual_limits
