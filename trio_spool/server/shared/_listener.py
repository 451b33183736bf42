"""How a client came in."""

from __future__ import annotations

import attrs


@attrs.frozen
class Listener:
    """The listener that accepted a connection, as far as its client is concerned.

    Attributes:
        port: The TCP port at which the client reaches it; 0 for a Unix domain socket.
        tls: Whether the connection is encrypted.
        login: Whether the client must log in.
        mapped: Whether the port is an advertised one, which leads to the port that is listened on.
    """

    port: int = 0
    tls: bool = False
    login: bool = False
    mapped: bool = False
