"""Files that survive a crash, locks between processes, and an OSError as a sentence. Blocking code for Linux and macOS."""

from ._durable import make_directories as make_directories
from ._durable import open_replacement as open_replacement
from ._durable import replace_durably as replace_durably
from ._durable import sync_directory as sync_directory
from ._durable import sync_file as sync_file
from ._durable import sync_parent as sync_parent
from ._explaining import explain as explain
from ._locking import FileLock as FileLock
from ._mounts import network_file_system as network_file_system
from ._regular import open_regular as open_regular
from ._regular import read_bounded as read_bounded
