"""The client's side of SCRAM (RFC 5802): a login in which no password is sent, and the server proves that it knows it, too.

The messages, and what they are made of, are described in `trio_spool.auth`, where the server's side is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from ..auth import saslprep
from ..mcbp import Status
from ._errors import AuthenticationError

MECHANISM = "SCRAM-SHA512"
# Of PBKDF2, as the server asks for. With fewer, whoever poses as the server could guess the password from the proof at leisure; the
# upper bound keeps it from making us calculate for minutes.
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000
# What `n,,`, the header of the first message, is in base64: no channel binding, and nobody to act for.
_HEADER = b"n,,"
_BINDING = b"c=" + base64.b64encode(_HEADER)
_SERVER_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*")


def refused(message: str) -> AuthenticationError:
    """Return the error for a login that we can't go on with."""
    return AuthenticationError(message, Status.AUTH_ERROR)


def _make_nonce() -> str:
    return secrets.token_urlsafe(24)


def _prepare(what: str, text: str) -> str:
    try:
        return saslprep(text, allow_unassigned=True)
    except ValueError as exc:
        raise refused(f"the {what} can't be used: {exc}") from None


class ScramClient:
    """One login: `first`, `final_in_thread`, `check`.

    Args:
        username: As it was typed.
        password: Likewise.
        hash_name: What hashlib calls the mechanism's hash.
        nonce: Our part of the nonce: printable ASCII without commas.

    Raises:
        AuthenticationError: SASLprep refuses the name or the password.
    """

    def __init__(self, username: str, password: str, *, hash_name: str = "sha512", nonce: str | None = None) -> None:
        self._hash = hash_name
        self._password = _prepare("password", password).encode()
        self._nonce = _make_nonce() if nonce is None else nonce
        name = _prepare("user name", username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}".encode()
        self._signature = b""  # what the server must send; set by `final_in_thread`

    def first(self) -> bytes:
        """Return client-first."""
        return _HEADER + self._bare

    def final_in_thread(self, challenge: bytes) -> bytes:
        """Take server-first, and return client-final. Takes as long as it should: milliseconds, or as the server wants.

        Raises:
            AuthenticationError: The server does not keep to the rules.
        """
        nonce, salt, iterations = self._parse(challenge)
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        without_proof = _BINDING + b",r=" + nonce
        message = b",".join([self._bare, challenge, without_proof])
        client_signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), message, self._hash)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), message, self._hash)
        return without_proof + b",p=" + base64.b64encode(proof)

    def _parse(self, challenge: bytes) -> tuple[bytes, bytes, int]:
        """Return the nonce, the salt and the number of iterations."""
        match = _SERVER_FIRST.fullmatch(challenge.decode("utf-8", "replace"))
        if match is None:
            raise refused("the server's part of the login is not what SCRAM wants")
        nonce, salt, iterations = match[1], match[2], int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise refused("the server's part of the login belongs to another one: its nonce does not continue ours")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise refused(f"the server asks for {iterations} iterations; we accept {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        try:
            return nonce.encode(), base64.b64decode(salt, validate=True), iterations
        except ValueError:
            raise refused("the server's part of the login is not what SCRAM wants: the salt is not base64") from None

    def check(self, message: bytes) -> None:
        """Take server-final: the server is one that knows the password.

        Raises:
            AuthenticationError: It is not.
        """
        signature = message.partition(b",")[0]
        if not self._signature or not hmac.compare_digest(signature, b"v=" + base64.b64encode(self._signature)):
            raise refused(
                "the server could not prove that it knows the password: somebody is posing as it, or it has no users; "
                "then connect without a user name"
            )
