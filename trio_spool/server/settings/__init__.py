"""Settings: their checks, the addresses among them, and the limits that are no settings. Knows no other part of the server."""

from ._addresses import Address as Address
from ._addresses import TcpAddress as TcpAddress
from ._addresses import UnixAddress as UnixAddress
from ._addresses import parse_address as parse_address
from ._checks import shown as shown
from ._errors import ServiceError as ServiceError
from ._errors import SettingsError as SettingsError
from ._limit_hits import LIMITS as LIMITS
from ._limit_hits import LimitHits as LimitHits
from ._limits import BACKLOG as BACKLOG
from ._limits import EXCHANGE_SIZE as EXCHANGE_SIZE
from ._limits import KIB as KIB
from ._limits import MAX_JOBS as MAX_JOBS
from ._settings import LIVE as LIVE
from ._settings import LOG_LEVELS as LOG_LEVELS
from ._settings import Settings as Settings
