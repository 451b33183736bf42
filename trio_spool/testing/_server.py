"""What a test knows of its server."""

from __future__ import annotations

import attrs

from ._contents import DEFAULT_BUCKET, Collection


@attrs.frozen(kw_only=True)
class Server:
    """A running server.

    Attributes:
        host: The address that it listens on.
        port: Its port, which the system has chosen.
        username: A user who may log in.
        password: The password of this user. A server without a file of users takes any name and any password.
        bucket: The default bucket, which always exists.
        tls: Whether connections must be encrypted.
        users: Whether clients must log in.
        buckets: The buckets that were created beside the default one.
        collections: The collections that were created, each with its `bucket`, `scope` and `name`.
    """

    host: str
    port: int
    username: str
    password: str
    bucket: str = DEFAULT_BUCKET
    tls: bool = False
    users: bool = False
    buckets: tuple[str, ...] = ()
    collections: tuple[Collection, ...] = ()

    @property
    def address(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        from .._formats import host_and_port  # late, since every run of pytest imports this module

        return host_and_port(self.host, self.port)

    @property
    def couchbase_connection_string(self) -> str:
        """The connection string for a Couchbase SDK."""
        return f"{'couchbases' if self.tls else 'couchbase'}://{self.address}"
