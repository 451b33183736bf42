"""Sending: the one task that writes to a stream, and what other tasks ask of it."""

from ._departures import Departures as Departures
from ._outlet import Outlet as Outlet
from ._outlet import check_send_timeout as check_send_timeout
from ._peer import kernel_queues as kernel_queues
from ._peer import progress as progress
from ._peer import reset_when_closed as reset_when_closed
from ._send_task import SendTask as SendTask
from ._send_task import protected as protected
from ._sender import Sender as Sender
