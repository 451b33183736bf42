"""What a process has of the supervisor that started it, as systemd: somebody to tell, a watchdog to feed, and sockets.

It all comes by environment variables, which `find_supervisor` takes out of the environment, so that no child of the process
believes that they are meant for it.
"""

from ._activation import InheritedSocket as InheritedSocket
from ._supervisor import Supervisor as Supervisor
from ._supervisor import find_supervisor as find_supervisor
