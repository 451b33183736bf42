"""SASLprep and SCRAM: the RFCs' examples, another implementation, and clients that break the rules."""

from __future__ import annotations

import base64
import stringprep
from collections.abc import Callable
from unicodedata import ucd_3_2_0

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st
from scramp import ScramClient, ScramException
from scramp.core import saslprep as their_saslprep

from trio_spool.auth import MECHANISMS, ScramError, ScramExchange, ScramKeys, derive_keys, matches, saslprep

THEIR_NAMES = {"SCRAM-SHA1": "SCRAM-SHA-1", "SCRAM-SHA256": "SCRAM-SHA-256", "SCRAM-SHA512": "SCRAM-SHA-512"}
KEYS = {mechanism: derive_keys(mechanism, "pencil", b"sixteen bytes...", 4096) for mechanism in MECHANISMS}
# Letters that are changed or refused, both directions, and what SCRAM escapes.
CHARS = st.one_of(
    st.sampled_from("ab ,=\u00aa\u00ad\u2168\u00a0\u200b\u1680\u0627\u0031\u05d0\u0301\u00fc\u00df\ufb01\u3000\u4e2d\ufdfa"),
    st.characters(),
)
TEXTS = st.text(CHARS, max_size=12)


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def exchange(
    mechanism: str = "SCRAM-SHA1", find: Callable[[str], ScramKeys] | None = None, *, verify: bool = True, nonce: str = "server"
) -> ScramExchange:
    return ScramExchange(mechanism, find or (lambda name: KEYS[mechanism]), verify=verify, nonce=lambda: nonce)


def proven(server: ScramExchange, mechanism: str = "SCRAM-SHA1", password: str = "pencil") -> bytes:
    """Log in as scramp does, and return client-final."""
    client = ScramClient([THEIR_NAMES[mechanism]], "user", password, c_nonce="client")
    client.set_server_first(server.first(client.get_client_first().encode()).decode())
    return client.get_client_final().encode()


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u00a0\u3000", "  "),
        ("", ""),
        ("\u200b", ""),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\u0007", "control"),
        ("\u00fc\u0007", "control"),
        ("\u0085", "control"),
        ("\u0627\u0031", "begin and end"),
        ("\u0627a\u0627", "left-to-right"),
        ("\ue000", "private use"),
        ("\ufdd0", "not characters"),
        ("\ud800", "surrogates"),
        ("\ufffd", "plain text"),
        ("\u2ff0", "describe other"),
        ("\u200e", "how text is displayed"),
        ("\U000e0001", "tagging"),
        ("\U0001f600", "Unicode 3.2"),
    ],
)
def test_saslprep_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        saslprep(text)


def test_saslprep_of_a_query_lets_unassigned_characters_pass() -> None:
    assert saslprep("\U0001f600", allow_unassigned=True) == "\U0001f600"


@given(TEXTS)
def test_saslprep_agrees_with_another(text: str) -> None:
    try:
        theirs = their_saslprep(text)
    except ScramException:
        with pytest.raises(ValueError):
            saslprep(text)
    else:
        assert saslprep(text) == theirs == saslprep(theirs)


@pytest.mark.parametrize(
    ("mechanism", "salt", "client_nonce", "server_nonce", "proof", "signature"),
    [
        (
            "SCRAM-SHA1",
            "QSXCR+Q6sek8bf92",
            "fyko+d2lbbFgONRv9qkxdawL",
            "3rfcNHYJY1ZVvWVs7j",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "SCRAM-SHA256",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_the_examples_of_the_rfcs(
    mechanism: str, salt: str, client_nonce: str, server_nonce: str, proof: str, signature: str
) -> None:
    keys = derive_keys(mechanism, "pencil", base64.b64decode(salt), 4096)
    server = exchange(mechanism, {"user": keys}.__getitem__, nonce=server_nonce)
    assert server.first(f"n,,n=user,r={client_nonce}".encode()) == f"r={client_nonce}{server_nonce},s={salt},i=4096".encode()
    assert server.final(f"c=biws,r={client_nonce}{server_nonce},p={proof}".encode()) == f"v={signature}".encode()
    assert server.user == "user"


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(name=TEXTS, password=TEXTS)
@example(name="=2C,=,,3D", password=",=")
@example(name="\u00fc\u4e2d", password="\u2168")
def test_another_client_logs_in(mechanism: str, name: str, password: str) -> None:
    try:
        assume(saslprep(name) and saslprep(password) is not None)
    except ValueError:
        reject()  # that both refuse the same is another test
    client = ScramClient([THEIR_NAMES[mechanism]], name, password)
    found = []

    def find(user: str) -> ScramKeys:
        found.append(user)
        return derive_keys(mechanism, password, b"sixteen bytes...", 4096)

    server = ScramExchange(mechanism, find)
    client.set_server_first(server.first(client.get_client_first().encode()).decode())
    client.set_server_final(server.final(client.get_client_final().encode()).decode())
    assert found == [saslprep(name)] == [server.user]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_wrong_password(mechanism: str) -> None:
    server = exchange(mechanism)
    message = proven(server, mechanism, "pencil2")
    with pytest.raises(ScramError, match="password is wrong"):
        server.final(message)
    with pytest.raises(ScramError, match="no login is under way"):
        server.final(message)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_matches(mechanism: str) -> None:
    assert matches(mechanism, "pencil", KEYS[mechanism])
    assert matches(mechanism, "pen\u00adcil", KEYS[mechanism])
    for password in ("", "Pencil", "pencil\0", "pencil\u0627", "\ud800", "x" * 5000):
        assert not matches(mechanism, password, KEYS[mechanism])


def test_unknown_mechanisms() -> None:
    for use in (
        lambda: derive_keys("SCRAM-SHA-1", "pencil", b"salt", 4096),
        lambda: matches("PLAIN", "pencil", KEYS["SCRAM-SHA1"]),
        lambda: ScramExchange("MD5", KEYS.__getitem__),
    ):
        with pytest.raises(ValueError, match="use one of SCRAM-SHA512, SCRAM-SHA256, SCRAM-SHA1"):
            use()


def test_keys_are_not_printed() -> None:
    keys = KEYS["SCRAM-SHA1"]
    assert repr(keys.stored_key) not in repr(keys)
    assert repr(keys.server_key) not in repr(keys)


def test_nonces_differ() -> None:
    messages = {ScramExchange("SCRAM-SHA1", lambda name: KEYS["SCRAM-SHA1"]).first(b"n,,n=u,r=abc") for _ in range(10)}
    assert len(messages) == 10


@pytest.mark.parametrize(
    ("message", "user"),
    [
        (b"n,,n=user,r=abc", "user"),
        (b"y,,n=user,r=abc", "user"),
        (b"n,a=user,n=user,r=abc", "user"),
        (b"n,a=a=2Cb,n=a=2Cb,r=abc", "a,b"),
        (b"n,,n==3D2C=2C,r=abc", "=2C,"),
        ("n,,n=\u00fc\u2168,r=abc".encode(), "\u00fcIX"),
        (b"n,,n=user,r= a b~!+-= ", "user"),
        (b"n,,n=user,r=abc,x=ext,Y=1=2", "user"),
    ],
)
def test_what_may_come_first(message: bytes, user: str) -> None:
    server = exchange()
    nonce = message.split(b"r=", 1)[1].split(b",")[0]
    assert server.first(message) == b"r=" + nonce + b"server,s=" + b64(KEYS["SCRAM-SHA1"].salt) + b",i=4096"
    assert server.user == user


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", "begin"),
        (b"n", "attributes n, r"),
        (b"n,,", "attributes n, r"),
        (b"n,,n=user", "attributes n, r"),
        (b"n,,r=abc,n=user", "attributes n, r"),
        (b"n,,n=user,n=user,r=abc", "attributes n, r"),
        (b"n,n=user,r=abc", "header"),
        (b"n,b=user,n=user,r=abc", "header"),
        (b"x,,n=user,r=abc", "begin"),
        (b"N,,n=user,r=abc", "begin"),
        (b"n=user,r=abc", "begin"),
        (b"F,n,,n=user,r=abc", "begin"),
        (b"p=tls-unique,,n=user,r=abc", "channel binding is not supported"),
        (b"n,a=other,n=user,r=abc", "act as another"),
        (b"n,a=,n=user,r=abc", "empty"),
        (b"n,a=x=y,n=user,r=abc", "=3D"),
        (b"n,,m=must,n=user,r=abc", "mandatory"),
        (b"n,,n=user,r=abc,m=must", "mandatory"),
        (b"n,,n=user,r=abc,xyz", "malformed"),
        (b"n,,n=user,r=abc,x=", "malformed"),
        (b"n,,n=user,r=abc,", "malformed"),
        (b"n,,n=user,r=abc,x=\0", "malformed"),
        (b"n,,n=,r=abc", "empty"),
        (b"n,,n=\xc2\xad,r=abc", "empty"),
        (b"n,,n=a=b,r=abc", "=3D"),
        (b"n,,n=a=2c,r=abc", "=3D"),
        (b"n,,n=a=,r=abc", "=3D"),
        (b"n,,n=a\0,r=abc", "control"),
        (b"n,,n=\xd8\xa71,r=abc", "begin and end"),
        (b"n,,n=\xff,r=abc", "UTF-8"),
        (b"n,,n=\xed\xa0\x80,r=abc", "UTF-8"),
        (b"n,,n=user,r=", "nonce"),
        (b"n,,n=user,r=a\tb", "nonce"),
        (b"n,,n=user,r=abc\n", "nonce"),
        (b"n,,n=user,r=a\x7f", "nonce"),
        ("n,,n=user,r=\u00fc".encode(), "nonce"),
        (b"n,,n=user,r=" + b"x" * 4096, "maximum is 4096"),
    ],
)
def test_what_may_not_come_first(message: bytes, error: str) -> None:
    server = exchange()
    with pytest.raises(ScramError, match=error):
        server.first(message)
    with pytest.raises(ScramError, match="no login is under way"):
        server.final(b"c=biws,r=abcserver,p=")
    with pytest.raises(ScramError, match="twice"):
        server.first(b"n,,n=user,r=abc")


def test_the_longest_message() -> None:
    message = b"n,,n=user,r="
    exchange().first(message + b"x" * (4096 - len(message)))


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: b"", "attributes c, r, p"),
        (lambda m: m.split(b",p=")[0], "attributes c, r, p"),
        (lambda m: m + b",x=1", "attributes c, r, p"),
        (lambda m: m.removeprefix(b"c=biws,"), "attributes c, r, p"),
        (lambda m: m.replace(b"c=biws,r=clientserver", b"r=clientserver,c=biws"), "attributes c, r, p"),
        (lambda m: m.replace(b"biws", b"eSws"), "channel binding"),
        (lambda m: m.replace(b"biws", b"biw"), "channel binding"),
        (lambda m: m.replace(b"biws", b64(b"p=tls-unique,,data")), "channel binding"),
        (lambda m: m.replace(b"biws", b""), "channel binding"),
        (lambda m: m.replace(b"biws", "\u00fc".encode()), "channel binding"),
        (lambda m: m.replace(b"clientserver", b"client"), "nonce"),
        (lambda m: m.replace(b"clientserver", b"clientservers"), "nonce"),
        (lambda m: m.replace(b"clientserver", "\u00fc".encode()), "nonce"),
        (lambda m: m.replace(b",p=", b",m=must,p="), "mandatory"),
        (lambda m: m.replace(b",p=", b",,p="), "malformed"),
        (lambda m: m.replace(b",p=", b",x,p="), "malformed"),
        (lambda m: m.split(b"p=")[0] + b"p=", "0 bytes, not 20"),
        (lambda m: m.split(b"p=")[0] + b"p=" + b64(bytes(32)), "32 bytes, not 20"),
        (lambda m: m[:-1], "base64"),
        (lambda m: m + b"!", "base64"),
        (lambda m: m + b" ", "base64"),
        (lambda m: m.split(b"p=")[0] + "p=\u00fc".encode(), "base64"),
        (lambda m: m.split(b"p=")[0] + b"p=\xff", "UTF-8"),
        (lambda m: m + b"x" * 4096, "maximum is 4096"),
    ],
)
def test_what_may_not_be_final(change: Callable[[bytes], bytes], error: str, verify: bool) -> None:
    server = exchange(verify=verify)
    message = proven(server)
    assert change(message) != message
    with pytest.raises(ScramError, match=error):
        server.final(change(message))
    with pytest.raises(ScramError, match="no login is under way"):
        server.final(message)


def test_what_is_signed_can_not_be_changed() -> None:
    server = exchange()
    with pytest.raises(ScramError, match="password is wrong"):
        server.final(proven(server).replace(b",p=", b",x=1,p="))


def test_a_login_ends_once() -> None:
    server = exchange()
    message = proven(server)
    assert server.final(message).startswith(b"v=")
    for use in (server.first, server.final):
        with pytest.raises(ScramError):
            use(message)


@pytest.mark.parametrize(
    ("header", "binding", "right"),
    [
        (b"y,,", b64(b"y,,"), True),
        (b"y,,", b64(b"n,,"), False),
        (b"n,,", b64(b"n,,"), True),
        (b"n,,", b64(b"y,,"), False),
        (b"n,a=user,", b64(b"n,a=user,"), True),
        (b"n,a=user,", b64(b"n,,"), False),
        (b"n,a=u\xc2\xadser,", b64(b"n,a=u\xc2\xadser,"), True),  # as it was sent, not as it was prepared
        (b"n,a=u\xc2\xadser,", b64(b"n,a=user,"), False),
    ],
)
def test_the_binding_is_the_header(header: bytes, binding: bytes, right: bool) -> None:
    server = exchange(verify=False)
    server.first(header + b"n=user,r=abc")
    message = b"c=" + binding + b",r=abcserver,p=" + b64(bytes(20))
    if right:
        assert server.final(message).startswith(b"v=")
    else:
        with pytest.raises(ScramError, match="channel binding"):
            server.final(message)


def test_without_verification_any_password_is_right() -> None:
    server = exchange(verify=False)
    assert server.final(proven(server, password="anything")).startswith(b"v=")
    assert server.user == "user"


@given(first=st.binary(max_size=60), final=st.binary(max_size=60), begun=st.booleans())
def test_rubbish_is_an_error_of_the_client_and_nothing_else(first: bytes, final: bytes, begun: bool) -> None:
    server = exchange()
    try:
        server.first(b"n,,n=user,r=abc" if begun else first)
    except ScramError:
        pass
    with pytest.raises(ScramError):
        server.final(final)


@given(
    st.lists(
        st.sampled_from([b"n", b"y", b"p", b",", b"=", b"a=", b"n=", b"r=", b"m=", b"x", b"=2C", b"\xc3\xbc", b" "]), max_size=14
    )
)
def test_pieces_of_messages_are_parsed_or_refused(pieces: list[bytes]) -> None:
    message = b"".join(pieces)
    for prefix in (b"", b"n,,", b"n,,n=x,r=y"):
        server = exchange(verify=False)
        try:
            server.first(prefix + message)
        except ScramError:
            continue
        assert server.user
        with pytest.raises(ScramError):
            server.final(message)


# What preparing a name or a password costs


@pytest.mark.parametrize("text", ["é" * 1025, "a" * 1024 + "é", "\ufdfa" * 4096, "a" + "\u0315\u0300\u05ae" * 2000])
def test_long_texts_are_refused_unless_they_are_ascii(text: str) -> None:
    """Normalizing four thousand combining characters takes a tenth of a second, in one call that keeps the interpreter."""
    with pytest.raises(ValueError, match="more than 1024 characters"):
        saslprep(text)
    assert saslprep("a" * 4096) == "a" * 4096
    assert saslprep("é" * 1024) == "é" * 1024


@pytest.mark.parametrize("name", ["x" * 513, "é" * 513])
def test_a_long_name_is_refused_before_it_is_prepared(name: str) -> None:
    asked = []
    with pytest.raises(ScramError, match="more than 512 characters"):
        ScramExchange("SCRAM-SHA1", asked.append).first(f"n,,n={name},r=abc".encode())
    assert asked == []


@given(st.characters(), st.booleans())
def test_what_is_known_of_a_character_is_what_the_tables_say(char: str, first: bool) -> None:
    """The tables are asked once for each character; the second answer is the same as the first."""
    tables = [getattr(stringprep, f"in_table_{name}") for name in ("c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "a1")]
    mapped = "" if stringprep.in_table_b1(char) else " " if stringprep.in_table_c12(char) else char
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    for _ in range(2):
        if any(in_table(each) for in_table in tables for each in prepared):
            with pytest.raises(ValueError, match="allowed"):
                saslprep(char)
        else:
            assert saslprep(char) == prepared
