"""What a connection and its protocol say to each other: the interface, the exchange, long commands, and the session."""

from ._access import ADMIN as ADMIN
from ._access import ADMIN_OF_BUCKET as ADMIN_OF_BUCKET
from ._access import ANYBODY as ANYBODY
from ._access import ANYBODY_IN_BUCKET as ANYBODY_IN_BUCKET
from ._access import FREE as FREE
from ._access import NOBODY as NOBODY
from ._access import READ as READ
from ._access import READ_AND_WRITE as READ_AND_WRITE
from ._access import STATS as STATS
from ._access import WRITE as WRITE
from ._access import Refusal as Refusal
from ._access import Rule as Rule
from ._exchange import Encode as Encode
from ._exchange import EncodeItem as EncodeItem
from ._exchange import Exchange as Exchange
from ._interface import Begin as Begin
from ._interface import Detect as Detect
from ._interface import Guest as Guest
from ._interface import Host as Host
from ._jobs import CommandContext as CommandContext
from ._jobs import Jobs as Jobs
from ._jobs import Work as Work
from ._session import Session as Session
