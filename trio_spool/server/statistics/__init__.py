"""What a service says of itself: groups of typed rows. Knows no protocol."""

from ._contents import engine_rows as engine_rows
from ._errors import NoGroupError as NoGroupError
from ._errors import NoKeyError as NoKeyError
from ._errors import NotForUserError as NotForUserError
from ._groups import GROUPS as GROUPS
from ._groups import Group as Group
from ._groups import Shows as Shows
from ._groups import ask as ask
from ._rows import Kind as Kind
from ._rows import RawRow as RawRow
from ._rows import Row as Row
from ._rows import as_text as as_text
from ._service import HISTOGRAM as HISTOGRAM
from ._service import SUMMARY as SUMMARY
from ._service import TIMINGS as TIMINGS
from ._service import service_rows as service_rows
from ._service import spool_rows as spool_rows
