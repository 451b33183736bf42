"""The server's side of SCRAM (RFC 5802, RFC 7677), a login that does not send the password.

```
client-first   n,,n=USER,r=CLIENT NONCE                 the first two commas end the GS2 header
server-first   r=BOTH NONCES,s=SALT,i=ITERATIONS
client-final   c=GS2 HEADER,r=BOTH NONCES,p=PROOF       c, s, p and v are base64
server-final   v=SIGNATURE
```

With SaltedPassword = PBKDF2(password, salt, iterations), the server stores

```
StoredKey = H(ClientKey)        ClientKey = HMAC(SaltedPassword, "Client Key")
ServerKey                     = HMAC(SaltedPassword, "Server Key")
```

and with AuthMessage = client-first without its GS2 header "," server-first "," client-final without its proof, the two sides send

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

# The mechanisms, by their names on the wire, strongest first, with hashlib's names of their hashes.
_HASHES = {"SCRAM-SHA512": "sha512", "SCRAM-SHA256": "sha256", "SCRAM-SHA1": "sha1"}
MECHANISMS: tuple[str, ...] = tuple(_HASHES)

# The maximum length of a message, in bytes. A name of 128 characters of four bytes each, and a nonce, take some 600: picked, not
# measured.
MAX_MESSAGE = 4096
# The maximum length of a password, in characters. SASLprep takes time in proportion to the length, and anyone may send a password:
# picked, not measured.
MAX_PASSWORD = 4096
# The maximum length of a user name as it is sent, in characters: four times what a name may have in the end, since preparation and
# escapes can make it shorter. Preparing so many characters takes at most 0.3 ms of the event loop's thread.
MAX_NAME_SENT = 512
# The number of random bytes in the server's part of a nonce: picked, since RFC 5802 names no number.
_NONCE_SIZE = 24

# The characters of RFC 5802, section 7, and the space, which is in the nonces of some of Couchbase's SDKs.
_NONCE = re.compile(r"[\x20-\x2b\x2d-\x7e]+")
_EXTENSION = re.compile(r"[A-Za-z]=[^\0]+", re.DOTALL)
_BAD_ESCAPE = re.compile("=(?!2C|3D)")


@attrs.frozen
class ScramKeys:
    """The keys that are stored in place of a password, for one mechanism. They can check a login, but not log in.

    Attributes:
        salt: Random bytes, for one user and mechanism.
        iterations: The number of iterations of PBKDF2.
        stored_key: The key that checks the client's proof.
        server_key: The key that makes the server's signature.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


def digest_size(mechanism: str) -> int:
    """Return the length of the keys of a mechanism, in bytes."""
    return hashlib.new(_hash_of(mechanism)).digest_size


def derive_keys(mechanism: str, password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Derive the keys of a password. This is slow by design: it takes milliseconds.

    Args:
        mechanism: One of `MECHANISMS`.
        password: The password, as it was typed.
        salt: The salt.
        iterations: The number of iterations of PBKDF2.

    Raises:
        ValueError: The mechanism is unknown, or SASLprep refuses the password.
    """
    name = _hash_of(mechanism)
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"more than {MAX_PASSWORD} characters are not allowed")
    salted = hashlib.pbkdf2_hmac(name, saslprep(password).encode(), salt, iterations)
    stored_key = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    return ScramKeys(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", name))


def matches(mechanism: str, password: str, keys: ScramKeys) -> bool:
    """Return whether the keys belong to a password, as a login with PLAIN needs. A password that SASLprep refuses has no keys."""
    _hash_of(mechanism)
    try:
        derived = derive_keys(mechanism, password, keys.salt, keys.iterations)
    except ValueError:
        return False
    return hmac.compare_digest(derived.stored_key, keys.stored_key)


def _make_nonce() -> str:
    return secrets.token_urlsafe(_NONCE_SIZE)


class ScramExchange:
    """One login: call `first`, then `final`. After an error, the login is over.

    Args:
        mechanism: One of `MECHANISMS`.
        find: Returns the keys of a user, given the prepared name. For an unknown user, it must return fake keys.
        verify: Whether the proof must be right. A server without users accepts any proof; its signature is then not the one that
            the client expects, since only the keys of the client's password could make that one.
        nonce: Makes the server's part of the nonce, which must be printable ASCII without commas.

    Attributes:
        mechanism: The mechanism.
        user: The prepared name that the client gave, or an empty string before `first`. It is proven only once `final` has
            returned.
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
        self._keys: ScramKeys | None = None  # set from the end of `first` to the beginning of `final`
        self._header = self._nonce = self._auth_message = b""
        self.user = ""

    def first(self, message: bytes) -> bytes:
        """Process client-first, and return server-first.

        Raises:
            ScramError: The message is malformed, or asks for a feature that is not supported.
        """
        if self._begun:
            raise ScramError("the first message of the login was sent twice")
        self._begun = True
        flag, authzid, bare, *_ = *_decode(message).split(",", 2), "", ""
        _check_header(flag, authzid)
        name, client_nonce = _parse_first(bare)
        self.user = _prepare(name)
        if authzid and _prepare(authzid[2:]) != self.user:
            raise ScramError("a user can't act as another user: leave out the authorization identity")
        self._keys = self._find(self.user)
        self._header = f"{flag},{authzid},".encode()
        self._nonce = (client_nonce + self._make_nonce()).encode("ascii")
        salt = base64.b64encode(self._keys.salt)
        answer = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._keys.iterations)
        self._auth_message = message[len(self._header) :] + b"," + answer + b","
        return answer

    def final(self, message: bytes) -> bytes:
        """Process client-final, and return server-final. When this returns, the client has proven its name.

        Raises:
            ScramError: The message is malformed, or the proof, the nonce or the channel binding is wrong.
        """
        keys, self._keys = self._keys, None
        if keys is None:
            raise ScramError("no login is under way: the final message must follow a first message")
        binding, nonce, *extensions, proof = _split(_decode(message), "crp")
        _check_extensions(extensions)
        if not hmac.compare_digest(binding.encode(), b"c=" + base64.b64encode(self._header)):
            raise ScramError("the channel binding data differ from the header of the first message")
        if not hmac.compare_digest(nonce.encode(), b"r=" + self._nonce):
            raise ScramError("the nonce does not belong to this login")
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
        raise ValueError(f"unknown mechanism {mechanism!r}; use one of {', '.join(MECHANISMS)}") from None


def _decode(message: bytes) -> str:
    if len(message) > MAX_MESSAGE:
        raise ScramError(f"the message has {len(message)} bytes; the maximum is {MAX_MESSAGE}")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ScramError("the message is not UTF-8") from None


def _check_header(flag: str, authzid: str) -> None:
    if flag.startswith("p="):
        raise ScramError("channel binding is not supported: begin the login with 'n,,'")
    # "y" means that the client could bind the channel, but believes that the server can't. It is right.
    if flag not in ("n", "y"):
        raise ScramError("the first message must begin with 'n,' or 'y,'")
    if authzid and not authzid.startswith("a="):
        raise ScramError("the header of the first message is malformed")


def _parse_first(bare: str) -> tuple[str, str]:
    """Return the name, which is still escaped, and the nonce."""
    if bare.startswith("m="):
        raise ScramError("mandatory extensions are not supported")
    name, nonce, *extensions = _split(bare, "nr")
    _check_extensions(extensions)
    if not _NONCE.fullmatch(nonce, 2):
        raise ScramError("the nonce is empty, or has characters other than printable ASCII")
    return name[2:], nonce[2:]


def _split(message: str, names: str) -> list[str]:
    """Split a message into its attributes.

    The first two must have the first two of these names; if there is a third name, the last attribute must have it.
    """
    parts = message.split(",")
    found = [parts[0], *parts[1:2], *([parts[-1]] if len(parts) > 2 else [])][: len(names)]
    if [part[:2] for part in found] != [f"{name}=" for name in names]:
        raise ScramError(f"the message must have the attributes {', '.join(names)}, in this order")
    return parts


def _check_extensions(extensions: list[str]) -> None:
    for extension in extensions:
        if extension.startswith("m="):
            raise ScramError("mandatory extensions are not supported")
        if not _EXTENSION.fullmatch(extension):
            raise ScramError("an attribute of the message is malformed")


def _prepare(escaped: str) -> str:
    if _BAD_ESCAPE.search(escaped):
        raise ScramError("a user name must be sent with '=' as '=3D' and ',' as '=2C'")
    if len(escaped) > MAX_NAME_SENT:
        raise ScramError(f"the user name has more than {MAX_NAME_SENT} characters")
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
        raise ScramError(f"the proof has {len(proof)} bytes, not {size}: it was made for another mechanism")
    return proof
