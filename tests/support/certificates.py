"""Certificates for TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """A certificate authority, with the certificate of a server at 127.0.0.1, in files.

    Attributes:
        ca: What issues certificates.
        directory: Where the files are.
        cert: The server's certificate.
        key: Its private key.
        ca_file: The authority's own certificate.
    """

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.cert, self.key = self.issue("server", "127.0.0.1")

    def issue(self, file: str, *identities: str, name: str | None = None) -> tuple[Path, Path]:
        """Issue a certificate, and return the files of it and of its private key."""
        issued = self.ca.issue_cert(*identities, common_name=name)
        cert, key = self.directory / f"{file}.pem", self.directory / f"{file}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return cert, key

    @property
    def files(self) -> dict[str, Path]:
        """The settings of a service that has the certificate."""
        return {"tls_cert": self.cert, "tls_key": self.key}

    def client(self, *identities: str, name: str | None = None, ca: trustme.CA | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority.

        Args:
            identities: Whose certificate the client shows; without any, it shows none.
            name: The common name in that.
            ca: Who has issued it, if it is another authority.
        """
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if identities:
            (ca or self.ca).issue_cert(*identities, common_name=name).configure_cert(context)
        return context
