"""The client's side of SCRAM (RFC 5802), a login that does not send the password, and in which the server proves that it knows it.

The messages are described in `trio_spool.auth`, which has the server's side.
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
# The number of iterations of PBKDF2 that a server may ask for. The minimum is that of RFC 5802: with fewer, an impostor could guess
# the password from the proof. The maximum keeps a server from making the client compute for minutes: picked, not measured.
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000
# The maximum number of bytes of a message of the server: picked, not measured. Messages have about 150.
_MAX_MESSAGE = 4096
# The number of random bytes in the client's nonce: picked, since RFC 5802 names no number.
_NONCE_SIZE = 24
# The header of the first message, which means no channel binding and no authorization identity, and its form in the final message.
_HEADER = b"n,,"
_BINDING = b"c=" + base64.b64encode(_HEADER)
_SERVER_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*")


def refused(message: str) -> AuthenticationError:
    """Return the error for a login that failed."""
    return AuthenticationError(message, Status.AUTH_ERROR)


def _make_nonce() -> str:
    return secrets.token_urlsafe(_NONCE_SIZE)


def _prepare(what: str, text: str) -> str:
    try:
        return saslprep(text, allow_unassigned=True)
    except ValueError as exc:
        raise refused(f"the {what} can't be used: {exc}") from None


class ScramClient:
    """One login: call `first`, `final_in_thread`, and `check`, in this order.

    Args:
        username: The name of the user, as it was typed.
        password: The password, as it was typed.
        hash_name: hashlib's name of the hash of the mechanism.
        nonce: The client's part of the nonce, in printable ASCII without commas.

    Raises:
        AuthenticationError: SASLprep refuses the name or the password.
    """

    def __init__(self, username: str, password: str, *, hash_name: str = "sha512", nonce: str | None = None) -> None:
        self._hash = hash_name
        self._password = _prepare("password", password).encode()
        self._nonce = _make_nonce() if nonce is None else nonce
        name = _prepare("user name", username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}".encode()
        self._signature = b""  # the signature that the server must send; set by `final_in_thread`

    def first(self) -> bytes:
        """Return client-first."""
        return _HEADER + self._bare

    def final_in_thread(self, challenge: bytes) -> bytes:
        """Process server-first, and return client-final. This is slow by design: how slow, the server decides.

        Raises:
            AuthenticationError: The message is malformed, or asks for too few or too many iterations.
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
        if match is None or len(challenge) > _MAX_MESSAGE:
            raise refused("the server broke the rules of SCRAM: its first message is malformed")
        nonce, salt, iterations = match[1], match[2], int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise refused("the server broke the rules of SCRAM: its nonce does not continue the client's")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise refused(f"the server asks for {iterations} iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted")
        try:
            return nonce.encode(), base64.b64decode(salt, validate=True), iterations
        except ValueError:
            raise refused("the server broke the rules of SCRAM: the salt is not base64") from None

    def check(self, message: bytes) -> None:
        """Process server-final, which proves that the server knows the password.

        Raises:
            AuthenticationError: The server could not prove it.
        """
        signature = message.partition(b",")[0]
        if not self._signature or not hmac.compare_digest(signature, b"v=" + base64.b64encode(self._signature)):
            raise refused(
                "the server could not prove that it knows the password: it may be an impostor, or it has no users; "
                "in that case, connect without a user name"
            )
