"""The service: a key-value server on Trio."""

from ._checks import SettingsError as SettingsError
from ._listening import ListenError as ListenError
from ._service import serve as serve
from ._service import serve_until_signal as serve_until_signal
from ._settings import Settings as Settings
