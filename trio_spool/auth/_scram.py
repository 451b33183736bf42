"""The server's side of SCRAM (RFC 5802, RFC 7677): a login in which no password is sent.

```
client-first   n,,n=USER,r=CLIENT NONCE                 the first two commas end the GS2 header
server-first   r=BOTH NONCES,s=SALT,i=ITERATIONS
client-final   c=GS2 HEADER,r=BOTH NONCES,p=PROOF       c, s, p and v are base64
server-final   v=SIGNATURE
```

With SaltedPassword = PBKDF2(password, salt, iterations), the server keeps

```
StoredKey = H(ClientKey)        ClientKey = HMAC(SaltedPassword, "Client Key")
ServerKey                     = HMAC(SaltedPassword, "Server Key")
```

and with AuthMessage = client-first without its GS2 header "," server-first "," client-final without its proof

```
PROOF     = ClientKey XOR HMAC(StoredKey, AuthMessage)
SIGNATURE = HMAC(ServerKey, AuthMessage)
```
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

import attrs

from ._errors import ScramError
from ._saslprep import saslprep

# By their names on the wire, strongest first; what hashlib calls their hash.
_HASHES = {"SCRAM-SHA512": "sha512", "SCRAM-SHA256": "sha256", "SCRAM-SHA1": "sha1"}
MECHANISMS: tuple[str, ...] = tuple(_HASHES)

# Bytes. A name of 128 characters, each of four bytes, and a nonce take some 600.
MAX_MESSAGE = 4096
# Characters. Preparing a text takes time in proportion to it, and anyone may send one.
MAX_PASSWORD = 4096

# RFC 5802, section 7, and the space, which some of Couchbase's SDKs have in their nonces.
_NONCE = re.compile(r"[\x20-\x2b\x2d-\x7e]+")
_EXTENSION = re.compile(r"[A-Za-z]=[^\0]+", re.DOTALL)
_BAD_ESCAPE = re.compile("=(?!2C|3D)")


@attrs.frozen
class ScramKeys:
    """What is kept of a password, for one mechanism. One can check a login with it, but not log in.

    Attributes:
        salt: Random, for this user and mechanism.
        iterations: Of PBKDF2.
        stored_key: Checks the client's proof.
        server_key: Makes the server's signature.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


def digest_size(mechanism: str) -> int:
    """Return the length of a mechanism's keys, in bytes."""
    return hashlib.new(_hash_of(mechanism)).digest_size


def derive_keys(mechanism: str, password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Make the keys of a password. Takes as long as it should: milliseconds.

    Raises:
        ValueError: There is no such mechanism, or SASLprep refuses the password.
    """
    name = _hash_of(mechanism)
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"more than {MAX_PASSWORD} characters are not allowed")
    salted = hashlib.pbkdf2_hmac(name, saslprep(password).encode(), salt, iterations)
    stored_key = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    return ScramKeys(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", name))


def matches(mechanism: str, password: str, keys: ScramKeys) -> bool:
    """Return whether the keys are this password's, as for PLAIN. One that SASLprep refuses is nobody's."""
    _hash_of(mechanism)
    try:
        derived = derive_keys(mechanism, password, keys.salt, keys.iterations)
    except ValueError:
        return False
    return hmac.compare_digest(derived.stored_key, keys.stored_key)


def _make_nonce() -> str:
    return secrets.token_urlsafe(24)


class ScramExchange:
    """One login: `first`, then `final`. After an error it is over.

    Args:
        mechanism: One of MECHANISMS.
        find: Is given the prepared name of a user and returns its keys, fake ones if there is no such user.
        verify: Whether the proof must be right; without users, any is. The signature is then not the one that the client
            expects, as only its password could make that.
        nonce: Makes the server's part of the nonce: printable ASCII without commas.

    Attributes:
        mechanism: As above.
        user: The prepared name that the client gave; empty before `first`. Nothing is proven before `final` has returned.
    """

    def __init__(
        self, mechanism: str, find: Callable[[str], ScramKeys], *, verify: bool = True, nonce: Callable[[], str] = _make_nonce
    ) -> None:
        self.mechanism = mechanism
        self._hash = _hash_of(mechanism)
        self._find = find
        self._verify = verify
        self._make_nonce = nonce
        self._begun = False
        self._keys: ScramKeys | None = None  # set while `final` is awaited
        self._header = self._nonce = self._auth_message = b""
        self.user = ""

    def first(self, message: bytes) -> bytes:
        """Take client-first, and return server-first.

        Raises:
            ScramError: It is malformed, or asks for what we don't have.
        """
        if self._begun:
            raise ScramError("the first message of the login was sent twice")
        self._begun = True
        flag, authzid, bare, *_ = *_decode(message).split(",", 2), "", ""
        _check_header(flag, authzid)
        name, client_nonce = _parse_first(bare)
        self.user = _prepare(name)
        if authzid and _prepare(authzid[2:]) != self.user:
            raise ScramError("a user can't act as another: leave the authorization identity out")
        self._keys = self._find(self.user)
        self._header = f"{flag},{authzid},".encode()
        self._nonce = (client_nonce + self._make_nonce()).encode("ascii")
        salt = base64.b64encode(self._keys.salt)
        answer = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._keys.iterations)
        self._auth_message = message[len(self._header) :] + b"," + answer + b","
        return answer

    def final(self, message: bytes) -> bytes:
        """Take client-final, and return server-final: the client is who it says.

        Raises:
            ScramError: It is malformed, or the proof, the nonce or the channel binding is wrong.
        """
        keys, self._keys = self._keys, None
        if keys is None:
            raise ScramError("the final message of a login that is not under way")
        binding, nonce, *extensions, proof = _split(_decode(message), "crp")
        _check_extensions(extensions)
        if not hmac.compare_digest(binding.encode(), b"c=" + base64.b64encode(self._header)):
            raise ScramError("the channel binding data is not the header of the first message")
        if not hmac.compare_digest(nonce.encode(), b"r=" + self._nonce):
            raise ScramError("the nonce is not this login's")
        auth_message = self._auth_message + message[: -len(proof) - 1]
        self._check_proof(_decode_proof(proof[2:], len(keys.stored_key)), keys, auth_message)
        return b"v=" + base64.b64encode(hmac.digest(keys.server_key, auth_message, self._hash))

    def _check_proof(self, proof: bytes, keys: ScramKeys, auth_message: bytes) -> None:
        signature = hmac.digest(keys.stored_key, auth_message, self._hash)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        right = hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), keys.stored_key)
        if self._verify and not right:
            raise ScramError("the user name or the password is wrong")


def _hash_of(mechanism: str) -> str:
    try:
        return _HASHES[mechanism]
    except KeyError:
        raise ValueError(f"there is no mechanism {mechanism!r}; there are {', '.join(MECHANISMS)}") from None


def _decode(message: bytes) -> str:
    if len(message) > MAX_MESSAGE:
        raise ScramError(f"the message has more than {MAX_MESSAGE} bytes")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ScramError("the message is not UTF-8") from None


def _check_header(flag: str, authzid: str) -> None:
    if flag.startswith("p="):
        raise ScramError("channel binding is not supported: begin the login with 'n,,'")
    # "y": the client could bind the channel, but thinks that we can't; it is right.
    if flag not in ("n", "y"):
        raise ScramError("the login does not begin with 'n,' or 'y,'")
    if authzid and not authzid.startswith("a="):
        raise ScramError("the header of the login is malformed")


def _parse_first(bare: str) -> tuple[str, str]:
    """Return the name, still escaped, and the nonce."""
    if bare.startswith("m="):
        raise ScramError("mandatory extensions are not supported")
    name, nonce, *extensions = _split(bare, "nr")
    _check_extensions(extensions)
    if not _NONCE.fullmatch(nonce, 2):
        raise ScramError("the nonce is empty, or not printable ASCII")
    return name[2:], nonce[2:]


def _split(message: str, names: str) -> list[str]:
    """Split a message into its attributes; the first two must have these names, and the last one the third if there is one."""
    parts = message.split(",")
    found = [parts[0], *parts[1:2], *([parts[-1]] if len(parts) > 2 else [])][: len(names)]
    if [part[:2] for part in found] != [f"{name}=" for name in names]:
        raise ScramError(f"the message does not have the attributes {', '.join(names)} in this order")
    return parts


def _check_extensions(extensions: list[str]) -> None:
    for extension in extensions:
        if extension.startswith("m="):
            raise ScramError("mandatory extensions are not supported")
        if not _EXTENSION.fullmatch(extension):
            raise ScramError("an attribute of the message is malformed")


def _prepare(escaped: str) -> str:
    if _BAD_ESCAPE.search(escaped):
        raise ScramError("in a user name, '=' is sent as '=3D' and ',' as '=2C'")
    try:
        name = saslprep(escaped.replace("=2C", ",").replace("=3D", "="))
    except ValueError as exc:
        raise ScramError(f"the user name can't be used: {exc}") from None
    if not name:
        raise ScramError("the user name is empty")
    return name


def _decode_proof(text: str, size: int) -> bytes:
    try:
        proof = base64.b64decode(text, validate=True)
    except ValueError:
        raise ScramError("the proof is not base64") from None
    if len(proof) != size:
        raise ScramError(f"the proof has {len(proof)} bytes instead of {size}: it is another mechanism's")
    return proof
