"""A small Trio client of the protocol: for the command line, for tests, and for programs.

::

    async with open_client("127.0.0.1", 11210) as client:
        await client.set(b"key", b"value")
        print((await client.get(b"key")).value)
"""

from ._client import Client as Client
from ._client import Statistics as Statistics
from ._client import StoredValue as StoredValue
from ._client import open_client as open_client
from ._errors import ClientError as ClientError
from ._errors import ConnectionLostError as ConnectionLostError
from ._errors import ExistsError as ExistsError
from ._errors import NotANumberError as NotANumberError
from ._errors import NotFoundError as NotFoundError
from ._errors import NotStoredError as NotStoredError
from ._errors import ServerError as ServerError
from ._errors import TemporaryFailureError as TemporaryFailureError
from ._errors import TooBigError as TooBigError
