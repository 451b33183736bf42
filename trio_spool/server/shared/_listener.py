"""How a client came in."""

from __future__ import annotations

import attrs


@attrs.frozen
class Listener:
    """The listener that accepted a connection, as far as its client is concerned.

    Attributes:
        port: The TCP port; 0 for a Unix domain socket.
        tls: Whether the connection is encrypted.
        login: Whether the client must log in.
    """

    port: int = 0
    tls: bool = False
    login: bool = False
