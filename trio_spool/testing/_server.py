"""What a test gets to know of its server."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Server:
    """A running server.

    Attributes:
        host: Where it listens.
        port: The port that the system chose.
        username: Who may log in.
        password: With what. Without a file of users, any name and any password will do.
        bucket: The bucket that is always there.
        tls: Whether connections must be encrypted.
    """

    host: str
    port: int
    username: str
    password: str
    bucket: str = "default"
    tls: bool = False

    @property
    def address(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def couchbase_connection_string(self) -> str:
        """What a Couchbase SDK connects to."""
        return f"{'couchbases' if self.tls else 'couchbase'}://{self.address}"
