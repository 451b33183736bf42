"""The service: a key-value server on Trio.

Floors, from the top; each knows only those below it::

    _signals       a process: its signals
    _service       the life of a service
    supervision    what has started the process
    _reception     where clients come in          _companions    what runs beside them
    _connection    one client                     protocols      how clients speak
    conversation   between the two                commands       what clients can ask for, in any protocol
    _listening     listeners, TLS                 statistics     what a service says of itself
    shared         what connections share
    data           buckets, manifests, keys
    settings       settings, addresses, limits
"""

from ._listening import ListenError as ListenError
from ._service import Service as Service
from ._service import serve as serve
from ._signals import FAILED_STATUS as FAILED_STATUS
from ._signals import serve_until_signal as serve_until_signal
from .settings import ServiceError as ServiceError
from .settings import Settings as Settings
from .settings import SettingsError as SettingsError
from .shared import Tuning as Tuning
from .supervision import Supervisor as Supervisor
from .supervision import find_supervisor as find_supervisor
